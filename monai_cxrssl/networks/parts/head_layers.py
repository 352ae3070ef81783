# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""First layers of a stored projection head, before a label head.

Source: T. Chen et al., "Big Self-Supervised Models are Strong Semi-Supervised Learners" (SimCLRv2), NeurIPS 2020,
arXiv 2006.10029, section 2.1: fine-tuning from a middle layer of the projection head.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from monai_cxrssl.errors import ConfigurationError
from monai_cxrssl.networks.description import find_description
from monai_cxrssl.networks.heads import ProjectionHead
from monai_cxrssl.networks.parts.pooling import Pooling
from monai_cxrssl.networks.weights.containers import read_weights
from monai_cxrssl.networks.weights.header import read_projection_head

__all__ = ["HeadLayers", "starting_head_layers"]

logger = logging.getLogger(__name__)

#: Where the layers stand in the state dict of a network that was fine-tuned with them.
_FINE_TUNED = "classification_head.projection."


class HeadLayers(nn.Sequential):
    """The first layers of a :class:`~monai_cxrssl.networks.ProjectionHead`, each with its norm and its ReLU.

    Args:
        in_channels: length of the embedding.
        layers: linear layers.
        hidden_channels: width of those that a ReLU follows.
        norm: they have batch normalisation.
        out_channels: of the head's own last layer, which nothing follows, where it is among them.
    """

    def __init__(
        self, in_channels: int, layers: int, hidden_channels: int, norm: bool = True, out_channels: int | None = None
    ) -> None:
        hidden = layers + (out_channels is None)
        modules = ProjectionHead(in_channels, hidden_channels, out_channels or 1, hidden, norm).layers
        super().__init__(*(modules if out_channels else modules[:-1]))
        self.out_channels = out_channels or hidden_channels
        self.described = {"layers": layers, "hidden_channels": hidden_channels, "norm": norm}
        self.described |= {"out_channels": out_channels} if out_channels else {}

    def forward(self, input: Tensor) -> Tensor:
        """Return ``(B, out_channels)`` of embeddings ``(B, in_channels)``.

        Raises:
            ConfigurationError: batch normalisation learns and has one image to do so.
        """
        # A frozen layer is in evaluation mode.
        if self.training and self.described["norm"] and len(input) == 1:
            raise ConfigurationError(
                "The layers of the projection head have batch normalisation, which cannot learn from batches of one "
                "image; give --batch_size 2 or more, or leave --head_layers out."
            )
        return super().forward(input)

    def first(self, number: int) -> HeadLayers:
        """Return a copy of the first layers alone, as many as asked for."""
        if number == self.described["layers"]:
            return self
        described = {name: value for name, value in self.described.items() if name != "out_channels"}
        part = HeadLayers(self[0].in_features, **{**described, "layers": number})  # type: ignore[arg-type]
        part.load_state_dict({name: value for name, value in self.state_dict().items() if name in part.state_dict()})
        return part


def starting_head_layers(wanted: Any, path: Path | None, pool: Pooling) -> HeadLayers | None:
    """Return the layers of a projection head that stand between a pooling and a label head, if any.

    Args:
        wanted: how many to take from the head that a file of weights carries; as a description says them, to be filled
            later; or ``None`` for those that fine-tuned weights have already.
        path: the file.
        pool: what comes before.

    Raises:
        ConfigurationError: there is no file, or it carries no head, one of fewer layers, or one that does not fit.
    """
    if isinstance(wanted, Mapping):
        try:
            return HeadLayers(pool.out_channels, **wanted)
        except TypeError as error:
            raise ConfigurationError(
                f"The description of the weights gives head_layers as {dict(wanted)} ({error}); train again."
            ) from None
    described = None if path is None else (find_description(path) or {}).get("head_layers")
    if wanted == 0 or (wanted is None and described is None):
        return None
    if path is None:
        raise ConfigurationError(
            f"head_layers is {wanted}, and random or published weights carry no projection head; give --pretrained, "
            "the model.pt of a SimCLR, MICLe or MoCo pretraining, or leave --head_layers out."
        )
    head = _projection_head(path) if described is None else _fine_tuned(path, described, pool)
    total = head.described["layers"]
    number = total if wanted is None else wanted
    if number > total:
        raise ConfigurationError(
            f"head_layers is {number}, and the projection head of {path} has {total}; ask for at most {total}, or "
            f"pretrain with --projection_layers {number}."
        )
    if head[0].in_features != pool.out_channels:
        raise ConfigurationError(
            f"The projection head of {path} reads {head[0].in_features} values, and the pooling {pool.name} gives "
            f"{pool.out_channels}; choose the --pooling that it was trained on, or leave --head_layers out."
        )
    logger.info("%s: the label head stands on the first %d of %d layers of its projection head.", path, number, total)
    return head.first(number)


def _projection_head(path: Path) -> HeadLayers:
    state = read_projection_head(path)
    matrices = [value for value in state.values() if value.ndim == 2]
    if not matrices:
        raise ConfigurationError(
            f"{path} carries no projection head, as the model.pt of a SimCLR, MICLe or MoCo pretraining does; leave "
            "--head_layers out, or pretrain again."
        )
    norm = any(name.endswith("running_mean") for name in state)
    width, before = matrices[0].shape
    head = HeadLayers(before, len(matrices), width, norm, out_channels=len(matrices[-1]))
    return _filled(head, {name.removeprefix("layers."): value for name, value in state.items()}, path)


def _fine_tuned(path: Path, described: Mapping[str, Any], pool: Pooling) -> HeadLayers:
    state = {name: value for name, value in read_weights(path).items() if _FINE_TUNED in name}
    width = next((value.shape[1] for value in state.values() if value.ndim == 2), pool.out_channels)
    head = HeadLayers(width, **described)
    return _filled(head, {name.split(_FINE_TUNED)[1]: value for name, value in state.items()}, path)


def _filled(head: HeadLayers, state: Mapping[str, Tensor], path: Path) -> HeadLayers:
    shapes = {name: value.shape for name, value in head.state_dict().items()}
    if {name: value.shape for name, value in state.items()} != shapes:
        raise ConfigurationError(
            f"The projection head of {path} is not of linear layers of one width, batch normalisation and ReLU; leave "
            "--head_layers out (--head_layers 0)."
        )
    head.load_state_dict(state)
    return head
