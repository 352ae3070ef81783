# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Ensemble of fine-tuned networks that averages their probabilities."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from monai_cxrssl.errors import ConfigurationError
from monai_cxrssl.networks.fine_tuned.means import mean_label_logits, mean_log_odds
from monai_cxrssl.networks.fine_tuned.scripted_ensemble import scripted_ensemble
from monai_cxrssl.networks.multi_task import MultiTaskNet
from monai_cxrssl.networks.normalisation import InputNormalisation, normalised_features
from monai_cxrssl.networks.parts.label_head import label_logits
from monai_cxrssl.networks.parts.pooling import Pooling, pooled_features

__all__ = ["EnsembleNet", "label_logits_of", "members_of", "pooled_features_of"]


class EnsembleNet(nn.Module):
    """Average the probabilities of several networks of one architecture, of labels and of masks.

    It returns logits, as :class:`~monai_cxrssl.networks.MultiTaskNet` does, whose softmax (``multi_class``) or sigmoid
    is the mean of the members' probabilities. So a temperature, thresholds, ONNX and MONAI Label take it for one
    network. A member's label logits are divided by its own temperature first, ``temperatures`` ``(M,)`` in the state
    dict, all 1 at the start.

    Args:
        members: M networks, two or more, with ``return_dict``.
        task: ``"multi_class"`` or ``"multi_label"``.
        return_dict: see :class:`~monai_cxrssl.networks.MultiTaskNet`.

    Raises:
        ConfigurationError: fewer than two members, or an unknown task.

    Example:
        >>> members = [MultiTaskNet("resnet18", num_classes=2, decoder=None) for _ in range(3)]
        >>> network, image = EnsembleNet(members).eval(), torch.rand(1, 1, 64, 64)
        >>> mean = torch.stack([member(image)["label"].softmax(-1) for member in members]).mean(0)
        >>> torch.allclose(network(image)["label"].softmax(-1), mean, atol=1e-6)
        True
    """

    temperatures: Tensor

    def __init__(self, members: Sequence[MultiTaskNet], task: str = "multi_class", return_dict: bool = True) -> None:
        super().__init__()
        if len(members) < 2:
            raise ConfigurationError(f"An ensemble of {len(members)} networks is none; give two or more.")
        if task not in ("multi_class", "multi_label"):
            raise ConfigurationError(f"The task is {task!r}; expected multi_class or multi_label.")
        self.members = nn.ModuleList(members)
        self.task = task
        self.return_dict = return_dict
        self.register_buffer("temperatures", torch.ones(len(members)))

    @property
    def _first(self) -> MultiTaskNet:
        return self.members[0]  # type: ignore[return-value]

    @property
    def normalise(self) -> InputNormalisation:
        """Normalisation of the input, the same for all members."""
        return self._first.normalise

    @property
    def pool(self) -> Pooling:
        """Pooling of the features, the same for all members."""
        return self._first.pool

    @property
    def branches(self) -> tuple[str, ...]:
        """What the outputs are, in their order, the same for all members."""
        return self._first.branches

    @property
    def classification_head(self) -> nn.Module | None:
        """The first member's, which tells whether there are labels."""
        return self._first.classification_head

    @property
    def decoder(self) -> nn.Module | None:
        """The first member's, which tells whether there is a mask."""
        return self._first.decoder

    @property
    def segmentation_head(self) -> nn.Module | None:
        """The first member's."""
        return self._first.segmentation_head

    def __prepare_scriptable__(self) -> nn.Module:
        """Return what ``torch.jit.script`` compiles: the same weights without the checks of sizes."""
        return scripted_ensemble(self)

    def check_size(self, height: int, width: int) -> None:
        """Raise ConfigurationError for an image of a size that the members cannot take."""
        self._first.check_size(height, width)

    def label_logits(self, logits: Sequence[Tensor]) -> Tensor:
        """Return the ensemble's label logits ``(B, C)`` of those of the members, in float32."""
        return mean_label_logits(torch.stack(list(logits)), self.temperatures, self.task == "multi_class")

    def forward(self, image: Tensor) -> dict[str, Tensor] | tuple[Tensor, ...] | Tensor:
        """Return what :class:`~monai_cxrssl.networks.MultiTaskNet` returns, in float32."""
        outputs = [member(image) for member in self.members]
        output = {}
        if "label" in outputs[0]:
            output["label"] = self.label_logits([each["label"] for each in outputs])
        if "mask" in outputs[0]:
            output["mask"] = mean_log_odds(torch.stack([each["mask"] for each in outputs]))
        if self.return_dict:
            return output
        return next(iter(output.values())) if len(output) == 1 else tuple(output.values())


def members_of(network: nn.Module) -> list[nn.Module]:
    """Return the members of an ensemble; of any other network itself."""
    return list(network.members) if isinstance(network, EnsembleNet) else [network]


def label_logits_of(network: nn.Module, image: Tensor) -> Tensor:
    """Return the label logits ``(B, C)`` of images; no decoder is run."""
    logits = [label_logits(member, normalised_features(member, image)) for member in members_of(network)]
    return network.label_logits(logits) if isinstance(network, EnsembleNet) else logits[0]


def pooled_features_of(network: nn.Module, image: Tensor) -> Tensor:
    """Return what the label head reads ``(B, D)``; of an ensemble the members' side by side ``(B, M * D)``."""
    return torch.cat([pooled_features(member, image) for member in members_of(network)], 1)
