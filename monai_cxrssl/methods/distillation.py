# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Distillation of a fine-tuned teacher (SimCLRv2)."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from monai_cxrssl.errors import ConfigurationError
from monai_cxrssl.losses.distillation import DistillationLoss
from monai_cxrssl.methods.fine_tuning import FineTuningMethod
from monai_cxrssl.networks.parts.named_logits import named_logits
from monai_cxrssl.networks.trained import load_trained_network

__all__ = ["DistillationMethod", "load_teacher"]


class DistillationMethod(FineTuningMethod):
    r"""One step of distillation (SimCLRv2, Chen et al. 2020, arXiv 2006.10029, section 2).

    The teacher sees the same augmented view as the student. Every image, labelled or not, learns the teacher's soft
    label; with the mixing weight w of the distillation loss,

    .. math:: L = w \cdot L_{distillation} + (1 - w) \cdot L_{label} + L_{mask}

    where the last two are the label and the mask part of ``loss_function`` with its own weights. A batch without any
    label has :math:`L = L_{distillation} + L_{mask}`, one without masks no mask part; one with neither is no error.

    The teacher is always in evaluation mode, gets no gradient and moves to the device with this module, but is no part
    of it: it stands neither in ``parameters()`` nor in ``state_dict()``. A checkpoint does not grow by it, and a
    resumed run takes it from its own file.

    Args:
        network: the student, see :class:`FineTuningMethod`; it must have a label head.
        loss_function: :class:`monai_cxrssl.losses.MultiTaskLoss`, or one that like it takes an output with one of the
            two branches.
        teacher: called with images ``(B, 1, H, W)`` it returns logits ``(B, C)`` of the same classes, named ``label``
            unless it has ``branches``: a :class:`monai_cxrssl.networks.MultiTaskNet`, see :func:`load_teacher`.

    Raises:
        ConfigurationError: student or teacher has no label head, or the tasks or numbers of classes differ.
    """

    def __init__(
        self,
        network: nn.Module,
        loss_function: nn.Module,
        teacher: nn.Module,
        distillation: DistillationLoss,
        **options: Any,
    ) -> None:
        super().__init__(network, loss_function, **options)
        counts = {"student": getattr(network, "num_classes", None), "teacher": getattr(teacher, "num_classes", None)}
        for who, count in counts.items():
            if count == 0:
                raise ConfigurationError(f"The {who} has no label head, so there are no soft labels to learn; add one.")
        if None not in counts.values() and counts["student"] != counts["teacher"]:
            raise ConfigurationError(
                f"The student has {counts['student']} classes and the teacher {counts['teacher']}; distillation needs "
                "the same ones."
            )
        task = getattr(loss_function, "task", distillation.task)
        if task != distillation.task:
            raise ConfigurationError(
                f"The loss is {task} and the distillation {distillation.task}; give both one task."
            )
        self.distillation = distillation
        # A tuple hides it from parameters(), state_dict(), the optimiser and the data-parallel wrapper.
        self._teacher = (teacher.eval().requires_grad_(False),)

    @property
    def teacher(self) -> nn.Module:
        """The network that gives the soft labels."""
        return self._teacher[0]

    def train(self, mode: bool = True) -> DistillationMethod:
        """Set the mode; the teacher stays in evaluation mode."""
        super().train(mode)
        # FineTuningMethod's constructor may come here before there is a teacher.
        for teacher in getattr(self, "_teacher", ()):
            teacher.eval()
        return self

    def _apply(self, fn: Callable, recurse: bool = True) -> DistillationMethod:
        # What moves a module to a device or another memory format goes through here.
        super()._apply(fn, recurse)
        self.teacher._apply(fn, recurse)
        return self

    def forward(self, batch: Mapping[str, Any]) -> dict[str, Tensor]:
        """Return the loss of a batch, its parts, and what the student said.

        The batch is that of :class:`FineTuningMethod`. Return ``loss``, ``distillation_loss``, ``label_loss`` and
        ``mask_loss`` (0 where the batch has none), and the student's logits, without a graph, as ``label_logits`` and
        ``mask_logits``.
        """
        output = named_logits(self.network, self.network(batch["image"]))
        soft = _label_logits(output, "student")
        with torch.no_grad():
            told = _label_logits(named_logits(self.teacher, self.teacher(batch["image"])), "teacher")
        losses = {name: self._part(name, output, batch) for name in ("label", "mask")}
        label, mask = losses["label"], losses["mask"]
        distilled = self.distillation(soft, told)
        loss = self.distillation(soft, told, None if label is None else label["loss"])
        if mask is not None:
            loss = loss + mask["loss"]
        # Weights that this batch has nothing to say to get a gradient of zero, which data-parallel training waits for.
        idle = [branch[:0].sum() for name, branch in output.items() if losses.get(name) is None]
        idle += [weight.flatten()[:0].sum() for weight in self.loss_function.parameters()]
        loss = loss + sum(part.to(loss.dtype) for part in idle)
        result = {"loss": loss, "distillation_loss": distilled}
        for name, part in losses.items():
            result[f"{name}_loss"] = loss.new_zeros(()) if part is None else part[f"{name}_loss"]
        return result | {f"{name}_logits": branch.detach() for name, branch in output.items()}

    def _part(self, name: str, output: Mapping[str, Tensor], batch: Mapping[str, Any]) -> dict[str, Tensor] | None:
        """The loss of one branch alone, or ``None`` where it is off or the batch has nothing for it."""
        given = batch.get(name)
        weighs = getattr(self.loss_function, "weights", {}).get(name, 1.0) > 0
        if name not in output or given is None or not weighs:
            return None
        if f"{name}_rows" in batch:
            # Known from the host; asking the tensors themselves would wait for the device.
            return self.loss_function({name: output[name]}, batch) if len(batch[f"{name}_rows"]) else None
        if name == "mask":
            known = batch.get("has_mask")
        else:
            known = ~torch.isnan(given) if given.is_floating_point() else given != -1
        if known is not None and not bool(known.any()):
            return None
        return self.loss_function({name: output[name]}, batch)


def load_teacher(path: str | os.PathLike, classes: Sequence[str], task: str) -> nn.Module:
    """Load a fine-tuned network and make sure that it answers the question of the data.

    Args:
        path: ``model.pt`` of a fine-tuning bundle, which has its description in it.
        classes: of the data, in label order.
        task: of the data, ``"multi_class"`` or ``"multi_label"``.

    Returns:
        The network, in evaluation mode.

    Raises:
        ConfigurationError: the file cannot be used, or its classes or task are others than those of the data.
    """
    network, settings = load_trained_network(path)
    if list(settings["classes"]) != list(classes) or settings["task"] != task:
        raise ConfigurationError(
            f"The teacher {os.fspath(path)} was trained on {', '.join(settings['classes']) or 'no classes'} "
            f"({settings['task']}), and the data have {', '.join(classes) or 'no classes'} ({task}); distillation "
            "needs the same classes in the same order, and the same task."
        )
    return network


def _label_logits(output: Mapping[str, Tensor], who: str) -> Tensor:
    if "label" not in output:
        raise ConfigurationError(f"The {who} gives no 'label'; distillation takes a MultiTaskNet with classes.")
    return output["label"]
