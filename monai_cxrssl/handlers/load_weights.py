# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Handler that loads a bundle's weights."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ignite.engine import Engine, Events
from torch import nn

from monai_cxrssl.errors import ConfigurationError
from monai_cxrssl.networks.description import described_start, find_description
from monai_cxrssl.networks.starting_normalisation import described_normalisation
from monai_cxrssl.networks.weights.containers import read_weights
from monai_cxrssl.networks.weights.exact import load_exactly

__all__ = ["LoadWeights"]

_REMEDY = "Is it the file of another --encoder_name, --decoder or --input_normalisation?"


class LoadWeights:
    """Load every tensor of a network when its engine starts; anything missing, left over or misshapen is an error.

    Args:
        network: the network to fill.
        path: its state dict.
        classes: names that the outputs will bear. Weights whose description has others, or another order, are refused.
        task: of the labels, held against the description likewise.

    Raises:
        ConfigurationError: from the engine's run, when the file is absent, does not fit, is of other classes, or was
            trained with another input normalisation or pooling than the network's.
    """

    def __init__(
        self,
        network: nn.Module,
        path: str | os.PathLike,
        classes: Sequence[str] | None = None,
        task: str | None = None,
    ) -> None:
        if isinstance(classes, str):
            raise ConfigurationError(f"--classes is the text {classes!r}; expected a list, such as \"['{classes}']\".")
        self.network = network
        self.path = Path(path)
        self.said = {"classes": None if classes is None else list(classes), "task": task}

    def attach(self, engine: Engine) -> None:
        """Load at the start of an engine's run."""
        engine.add_event_handler(Events.STARTED, self._load)

    def _load(self, engine: Any) -> None:
        if not self.path.exists():
            raise ConfigurationError(
                f"There are no weights at {self.path} yet. Train the bundle first, or pass --model_path FILE."
            )
        weights = read_weights(self.path)
        description = find_description(self.path) or {}
        for name, said in self.said.items():
            if said is not None and description.get(name, said) != said:
                raise ConfigurationError(
                    f"{self.path} was trained with {name} {_shown(description[name])}, and the run has "
                    f"{_shown(said)}; leave --{name} out, or take the bundle that trained them."
                )
        normalise = getattr(self.network, "normalise", None)
        trained = described_normalisation(description, self.path)
        if description and normalise is not None and normalise.normalisation != trained:
            raise ConfigurationError(
                f"{self.path} was trained with the input normalisation {trained}, and the run has "
                f"{normalise.normalisation}; leave --input_normalisation out, or give another --model_path."
            )
        pool = getattr(self.network, "pool", None)
        pooling = described_start(description)["pooling"]
        if description and pool is not None and pool.name != pooling:
            raise ConfigurationError(
                f"{self.path} was trained with the pooling {pooling}, and the run has {pool.name}; give its "
                "network_def the start that monai_cxrssl.networks.read_start reads of the weights."
            )
        load_exactly(self.network, weights, str(self.path), _REMEDY)


def _shown(value: Any) -> str:
    return (", ".join(value) or "none") if isinstance(value, list) else str(value)
