# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Files of a trained model: weights, description, training patients."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import nn

from monai_cxrssl.checkpoints.checkpoint import save_atomically
from monai_cxrssl.data.audit.leak import training_patients_path, write_training_patients
from monai_cxrssl.files import atomic_write, write_json
from monai_cxrssl.networks.description import require_description
from monai_cxrssl.networks.weights.containers import read_weights
from monai_cxrssl.networks.weights.file import read_content
from monai_cxrssl.networks.weights.header import put_description, put_projection_head, read_header, safetensors_header

__all__ = ["store_description", "write_as_trained", "write_model"]


def write_model(
    network: nn.Module,
    model_path: str | os.PathLike,
    settings: Mapping[str, Any],
    items: Sequence[Mapping[str, Any]] | None,
    name: str = "dataset",
    pretrained: str | os.PathLike | Sequence[str | os.PathLike] | None = None,
    projection_head: nn.Module | None = None,
) -> None:
    """Write a network's state dict with its description in it and, beside it, ``.json`` and ``.patients.json``.

    Args:
        network: whose weights to write, from the CPU.
        model_path: where they go.
        settings: the description: what it takes to use the weights again, plain JSON values.
        items: the datalist items trained on; without them no list of patients is written, and an old one is removed,
            since it would tell of other weights.
        name: of the data set, the source of items that name none.
        pretrained: weights that training started from (also a teacher's), whose patients count as trained on too.
        projection_head: of pretraining, carried along for fine-tuning from its middle.
    """
    model_path = Path(model_path)
    state: Mapping[str, Any] = _tensors(network)
    if projection_head is not None:
        state = put_projection_head(state, _tensors(projection_head))
    # Before the weights: a kill in between must not leave weights of whose patients nothing is known.
    if items is None:
        training_patients_path(model_path).unlink(missing_ok=True)
    else:
        write_training_patients(items, model_path, name, pretrained)
    _write(state, settings, model_path)


def _tensors(module: nn.Module) -> dict[str, Any]:
    return {key: value.detach().cpu().contiguous() for key, value in module.state_dict().items()}


def store_description(model_path: str | os.PathLike, description: Mapping[str, Any]) -> None:
    """Give a file of weights another description, in the file and in the ``.json`` file beside it.

    Args:
        model_path: the file, whose tensors stay as they are; a checkpoint keeps what else it holds.
        description: plain JSON values.

    Raises:
        ConfigurationError: the file holds no weights.
        TrainingError: the disk is full, read-only or failing.
    """
    model_path = Path(model_path)
    read_header(model_path)  # refuses what holds no weights
    _write(read_content(model_path), description, model_path)


def write_as_trained(weights: str | os.PathLike, model_path: str | os.PathLike) -> None:
    """Write described weights of any format as training leaves its own: by torch, in float32, with what lies beside.

    Args:
        weights: such as those that come with the package, which have 16 bits.
        model_path: where ``model.pt`` goes.

    Raises:
        ConfigurationError: the file holds no weights, or they have no description.
    """
    description, patients = require_description(weights), training_patients_path(weights)
    state = {
        name: value.float() if value.is_floating_point() else value for name, value in read_weights(weights).items()
    }
    Path(model_path).parent.mkdir(parents=True, exist_ok=True)
    if patients.is_file():
        shutil.copyfile(patients, training_patients_path(model_path))
    _write(state, description, Path(model_path))


def _write(content: Mapping[str, Any], description: Mapping[str, Any], path: Path) -> None:
    # The weights first: after a kill in between they still say the truth, and the .json file is found to differ.
    if path.suffix == ".safetensors":
        from safetensors.torch import save_file

        with atomic_write(path, sync=True) as partial:
            save_file(dict(content), partial, metadata=safetensors_header(description))
    else:
        save_atomically(put_description(content, description), path)
    write_json(dict(description), path.with_suffix(".json"))
