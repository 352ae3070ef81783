# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""What an encoder starts from: random, ImageNet's or other weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from monai_cxrssl.networks.description import find_description
from monai_cxrssl.networks.weights.hub_config import facts_of_timm
from monai_cxrssl.networks.weights.known import recognise

if TYPE_CHECKING:
    from monai_cxrssl.runs.options import RunOptions

__all__ = ["StartingPoint", "starting_point"]

#: What stands behind the names of smp's weights, as their authors say: supervision and data.
_OF_SMP = {
    "imagenet": ("supervised", ("ImageNet-1k",)),
    "imagenet+5k": ("supervised", ("ImageNet-1k",)),
    "imagenet+background": ("supervised", ("ImageNet-1k",)),
    "imagenet21k": ("supervised", ("ImageNet-21k",)),
    "advprop": ("supervised", ("ImageNet-1k",)),
    "noisy-student": ("semi-supervised", ("ImageNet-1k", "JFT-300M")),
    "ssl": ("semi-supervised", ("ImageNet-1k", "YFCC-100M")),
    "swsl": ("semi-weakly supervised", ("ImageNet-1k", "Instagram-1B")),
    "instagram": ("weakly supervised", ("Instagram-1B",)),
}


@dataclass(frozen=True)
class StartingPoint:
    """Weights that an encoder starts from.

    Args:
        name: of the weights.
        supervision: ``"supervised"``, ``"self-supervised"`` ...; ``None`` where it is not known.
        trained_on: public data sets that they go back to.
        licence: of the weights; ``None`` where it is not known.
    """

    name: str
    supervision: str | None = None
    trained_on: tuple[str, ...] = ()
    licence: str | None = None

    def __str__(self) -> str:
        facts = [self.supervision or "whether supervised or self-supervised is not known"]
        facts += [f"trained on {', '.join(self.trained_on)}"] if self.trained_on else []
        facts += [f"licence {self.licence or 'not known'}"]
        return f"{self.name} ({'; '.join(facts)})"


def starting_point(options: RunOptions) -> StartingPoint | None:
    """Return what the encoder of a run starts from, ``None`` for random weights.

    Args:
        options: of the run.

    Raises:
        ConfigurationError: the file of ``pretrained`` holds no weights.
    """
    if options.encoder_weights is not None:
        return _published(options.encoder_name, options.encoder_weights)
    if options.pretrained is None:
        return None
    path = Path(options.pretrained)
    description = find_description(path)
    if description is not None:
        return _own(path, description)
    known = recognise(path)
    if known is None:
        return StartingPoint(path.name)
    name = f"{known.name}, {path.name}, recognised by {known.recognised_by}"
    return StartingPoint(name, known.supervision, known.trained_on or (), known.licence)


def _own(path: Path, description: Mapping[str, Any]) -> StartingPoint:
    """Weights of this package: fine-tuned where they have classes, else pretrained by a run or described by hand."""
    run = description.get("run")
    source = f", of a run on {run['source']}" if isinstance(run, Mapping) and run.get("source") else ""
    fine_tuned = "classes" in description
    supervision = "supervised" if fine_tuned else "self-supervised" if run else None
    seen = tuple(description.get("trained_on") or ())
    before = description.get("started_from")
    # A licence outlasts fine-tuning; the words of what came before have it.
    name = f"{path.name}{source}" + (f", which started from {before}" if before else "")
    return StartingPoint(name, supervision, seen, "your own" if before is None else "also that of what came before")


def _published(encoder_name: str, weights: str) -> StartingPoint:
    """Weights that smp or timm download."""
    name = f"the {weights!r} weights of {encoder_name}"
    if encoder_name.startswith("tu-"):
        import timm

        cfg = timm.get_pretrained_cfg(encoder_name.removeprefix("tu-"), allow_unregistered=False)
        if cfg is not None:
            facts = facts_of_timm(cfg.architecture or encoder_name.removeprefix("tu-"), cfg.to_dict())
            return StartingPoint(name, facts["supervision"], facts["trained_on"] or (), facts["licence"])
    supervision, data = _OF_SMP.get(weights, (None, ()))
    return StartingPoint(name, supervision, data)
