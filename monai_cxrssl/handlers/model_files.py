# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Files of a trained model: weights, settings, training patients."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import nn

from monai_cxrssl.checkpoints.checkpoint import save_atomically
from monai_cxrssl.data.audit.leak import training_patients_path, write_training_patients
from monai_cxrssl.files import write_json

__all__ = ["write_model"]


def write_model(
    network: nn.Module,
    model_path: str | os.PathLike,
    settings: Mapping[str, Any],
    items: Sequence[Mapping[str, Any]] | None,
    name: str = "dataset",
    pretrained: str | os.PathLike | Sequence[str | os.PathLike] | None = None,
) -> None:
    """Write a network's state dict and, beside it, ``.json`` with its settings and ``.patients.json``.

    Args:
        settings: what it takes to use the weights again, plain JSON values.
        items: the datalist items trained on; without them no list of patients is written, and an old one is removed,
            since it would tell of other weights.
        name: of the data set, the source of items that name none.
        pretrained: weights that training started from (also a teacher's), whose patients count as trained on too.
    """
    model_path = Path(model_path)
    state = {key: value.detach().cpu().contiguous() for key, value in network.state_dict().items()}
    # Before the weights: a kill in between must not leave weights of whose patients nothing is known.
    if items is None:
        training_patients_path(model_path).unlink(missing_ok=True)
    else:
        write_training_patients(items, model_path, name, pretrained)
    save_atomically(state, model_path)
    write_json(dict(settings), model_path.with_suffix(".json"))
