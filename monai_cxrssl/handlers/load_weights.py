# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Handler that loads a bundle's weights."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from ignite.engine import Engine, Events
from torch import nn

from monai_cxrssl.errors import ConfigurationError
from monai_cxrssl.networks.pretrained import load_state_dict_file

__all__ = ["LoadWeights"]


class LoadWeights:
    """Load every tensor of a network when its engine starts; anything missing, left over or misshapen is an error.

    A ``ConfigurationError`` from the engine's run tells of it, and of an absent file.
    """

    def __init__(self, network: nn.Module, path: str | os.PathLike) -> None:
        self.network = network
        self.path = Path(path)

    def attach(self, engine: Engine) -> None:
        """Load at the start of an engine's run."""
        engine.add_event_handler(Events.STARTED, self._load)

    def _load(self, engine: Any) -> None:
        if not self.path.is_file():
            raise ConfigurationError(
                f"There are no weights at {self.path} yet. Train the bundle first, or pass --model_path FILE together "
                "with its --encoder_name and --image_size."
            )
        weights = load_state_dict_file(self.path)
        try:
            self.network.load_state_dict(weights)
        except RuntimeError as error:
            raise ConfigurationError(
                f"{self.path} does not fit the network: {str(error).splitlines()[-1].strip()} "
                "Is it the file of another --encoder_name?"
            ) from error
