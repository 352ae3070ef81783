# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Claims of the papers as differences between two rows of the benchmark of record, on one task each."""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["CLAIMS", "RANDOM", "Claim", "Comparison", "comparisons"]

#: The random encoder of the architecture that it is compared with; and the lungs' share of the image.
RANDOM, CHANCE = "random", "chance"
SIMCLR, MICLE, MOCO, INPAINTING = "SimCLR", "MICLe", "MoCo v2", "inpainting-CXR"
SIT, GMML, EVA_X, DINO, MAE = "SPCXR (SiT)", "SPCXR (GMML)", "EVA-X", "DINO", "MAE"
IMAGENET, IMAGENET_MICLE = "ImageNet", "ImageNet → SimCLR → MICLe"
DISTILLED, MULTITASK = "SimCLR, distilled", "with segmentation"
SINGLE = ("rotation", "jigsaw", MOCO)
ORDERS = tuple(" → ".join(order) for order in (SINGLE, ("jigsaw", "rotation", MOCO), (MOCO, "jigsaw", "rotation")))
#: Labelled tasks by their keys in the record; of the last two the encoder is fine-tuned on one and tested on the other.
CHILDREN, ADULTS, ANY = "kermany", "chestxray14", "chestxray14_any"
TO_ADULTS, TO_CHILDREN = "kermany_to_chestxray14", "chestxray14_to_kermany"
PROBE, TUNED = "linear 10 %", "fine-tuned 10 %"
AUC, F1, DICE, ATTENTION = "macro AUC", "macro-F1", "Dice", "attention on the lungs"


class Comparison(NamedTuple):
    """A figure of one row less that of another, paired over test patients, draws and pretraining seeds.

    Attributes:
        of, against: names of rows; ``"random"`` and ``"chance"`` stand for themselves.
        task: key of a task.
        amount: ``linear 10 %``, ``fine-tuned 100 %``, ``fine-tuned 10 masks``, or with a drift behind a comma.
        metric: of the figure.
    """

    of: str
    against: str
    task: str
    amount: str
    metric: str = AUC


class Claim(NamedTuple):
    """What a paper claims, the comparisons that test it, and the difference that each must exceed."""

    page: str
    words: str
    tests: tuple[Comparison, ...]
    margin: float = 0.0


def _each(
    of: str | tuple[str, ...], against: str | tuple[str, ...], tasks: tuple[str, ...] = (CHILDREN, ADULTS),
    amounts: tuple[str, ...] = (PROBE, TUNED), metric: str = AUC,
) -> tuple[Comparison, ...]:  # fmt: skip
    """Every row of the one with every row of the other, on every task with every amount."""
    rows, others = ((names,) if isinstance(names, str) else names for names in (of, against))
    return tuple(
        Comparison(row, other, task, amount, metric)
        for row in rows for other in others for task in tasks for amount in amounts
    )  # fmt: skip


_MASKS = ("fine-tuned 10 masks",)
_SHIFT = (TO_ADULTS, TO_CHILDREN)
_ALL = ("fine-tuned 100 %",)
CLAIMS = (
    Claim("micle", "MICLe is better than SimCLR where patients have several films", _each(MICLE, SIMCLR)),
    Claim("micle", "natural images, then films, then MICLe is better than natural images alone",
          _each(IMAGENET_MICLE, IMAGENET)),
    Claim("micle", "so it is with few labels",
          _each(IMAGENET_MICLE, IMAGENET, amounts=("linear 1 %", "fine-tuned 1 %"))),
    Claim("micle", "so it is on another population, without tuning", _each(IMAGENET_MICLE, IMAGENET, _SHIFT, _ALL)),
    Claim("curricular", "a curriculum is better than training from scratch", _each(ORDERS, RANDOM)),
    Claim("curricular", "a curriculum is better than its single tasks", _each(ORDERS, SINGLE, amounts=(TUNED,))),
    Claim("curricular", "models from a curriculum attend to the lungs more than chance",
          _each(ORDERS, CHANCE, (ANY,), _ALL, ATTENTION)),
    Claim("curricular", "they attend to the lungs more than models from scratch",
          _each(ORDERS, RANDOM, (ANY,), _ALL, ATTENTION)),
    Claim("spcxr", "SPCXR is better than the same transformer from scratch", _each((SIT, GMML), RANDOM)),
    Claim("spcxr", "by more than .10 (our threshold)", _each(SIT, RANDOM), 0.1),
    Claim("spcxr", "lungs are segmented better from few masks", _each(SIT, RANDOM, ("lungs",), _MASKS, DICE)),
    Claim("spcxr", "it is better under drift",
          _each(SIT, RANDOM, amounts=tuple(f"{TUNED}, {drift}" for drift in ("contrast", "noise", "blur")))),
    Claim("spcxr", "it is better on children when fine-tuned on adults", _each(SIT, RANDOM, (TO_CHILDREN,), _ALL)),
    Claim("fine_grained_covid", "segmentation beside classification helps the classification",
          _each(MULTITASK, RANDOM, (ANY,), (TUNED,), F1)),
    Claim("fine_grained_covid", "MoCo and inpainting are better starts than random weights",
          _each((MOCO, INPAINTING), RANDOM, amounts=(TUNED,), metric=F1)),
    Claim("fine_grained_covid", "MoCo and inpainting are better starts than ImageNet",
          _each((MOCO, INPAINTING), IMAGENET, amounts=(TUNED,), metric=F1)),
    Claim("simclrv2", "pretraining without labels helps where labels are few", _each(SIMCLR, RANDOM)),
    Claim("simclrv2", "distillation on unlabelled films adds to fine-tuning",
          _each(DISTILLED, SIMCLR, amounts=(TUNED,))),
    Claim("eva_x", "masked distillation is better than the same transformer from scratch", _each(EVA_X, RANDOM)),
    Claim("eva_x", "it is better than masked modelling of pixels", _each(EVA_X, GMML)),
    Claim("paediatric_tb", "an encoder of adults' films serves children without tuning",
          _each((MAE, DINO), RANDOM, (TO_CHILDREN,), _ALL)),
)  # fmt: skip


def comparisons() -> list[Comparison]:
    """All comparisons that the claims ask for, each once: what the record has to hold."""
    return list(dict.fromkeys(test for claim in CLAIMS for test in claim.tests))
