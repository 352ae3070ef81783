# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Weights of an ensemble from those of its members."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import torch

from monai_cxrssl.errors import ConfigurationError
from monai_cxrssl.handlers.model_files import write_model
from monai_cxrssl.networks.fine_tuned.ensemble import EnsembleNet
from monai_cxrssl.networks.multi_task import MultiTaskNet
from monai_cxrssl.networks.trained import load_trained_network

__all__ = ["write_ensemble"]

#: What a description says of one training, and not of all.
_OF_ONE = ("run", "temperature", "thresholds", "threshold_rule", "training_range")


def write_ensemble(
    members: Sequence[str | os.PathLike],
    path: str | os.PathLike,
    items: Sequence[Mapping[str, Any]],
    temperatures: Sequence[float] | None = None,
    name: str = "dataset",
    pretrained: Sequence[str | os.PathLike] = (),
    described: Mapping[str, Any] | None = None,
) -> EnsembleNet:
    """Write one file of weights of several networks, with its description and the patients trained on.

    Args:
        members: files of weights, of one architecture and the same classes.
        path: where the ensemble goes.
        items: datalist items that any of the members was trained or chosen on.
        temperatures: of the members' labels, by default 1 each.
        name: of the data set, the source of items that name none.
        pretrained: weights that the trainings started from, whose patients count as trained on too.
        described: further entries of the description.

    Returns:
        The ensemble, in evaluation mode.

    Raises:
        ConfigurationError: fewer than two members, one is an ensemble itself, or they differ in their description.
    """
    loaded = [load_trained_network(member) for member in members]
    settings = [{key: value for key, value in said.items() if key not in _OF_ONE} for _, said in loaded]
    for member, (network, _), said in zip(members, loaded, settings, strict=True):
        other = sorted(key for key in said.keys() | settings[0].keys() if said.get(key) != settings[0].get(key))
        if isinstance(network, EnsembleNet) or other:
            why = f"differs from {members[0]} in {', '.join(other)}" if other else "is an ensemble itself"
            raise ConfigurationError(f"{member} {why}; an ensemble is of networks of one kind, trained alike.")
    ensemble = EnsembleNet([cast(MultiTaskNet, network) for network, _ in loaded], settings[0]["task"]).eval()
    if temperatures is not None:
        ensemble.temperatures.copy_(torch.tensor(temperatures))
    content = {**settings[0], "members": len(members), **(described or {})}
    write_model(ensemble, Path(path), content, items, name, list(pretrained))
    return ensemble
