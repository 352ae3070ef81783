# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Claims of the papers, and the conditions of the benchmark, tried on the cells."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from record.cells import WITH_LUNGS, Cell
from record.figures import Figure, Results, What
from record.rows import CNN, ROWS, Row

__all__ = ["CLAIMS", "Claim", "Verdict", "claim_text", "verdicts"]

_TASKS = {"kermany": "Kermany", "chestxray14": "ChestX-ray14"}
_KINDS = {"auc": "AUC", "f1": "macro F1", "dice": "Dice", "attention": "saliency on the lungs"}
_ORDERS = ("rotation → jigsaw → MoCo v2", "jigsaw → rotation → MoCo v2", "MoCo v2 → rotation → jigsaw")
_SINGLE = ("rotation", "jigsaw", "MoCo v2")
_SCRATCH, _SCRATCH_VIT, _IMAGENET = f"random {CNN}", "random ViT-Ti", "ImageNet EfficientNet-Lite0"


class Claim(NamedTuple):
    """That a row is better than another, or than chance, by more than a margin.

    Attributes:
        paper: whose claim it is.
        row: name of the one.
        other: name of the other; empty for chance.
        what: what both are compared by.
        instead: cell of the other, where it is another one.
        margin: by how much more.
    """

    paper: str
    row: str
    other: str
    what: What
    instead: What | None = None
    margin: float = 0.0


class Verdict(NamedTuple):
    """A claim, what was found, and ``shown``, ``not shown``, ``contradicted`` or ``not run``."""

    claim: Claim
    difference: Figure | None
    word: str


def _claims() -> Iterator[Claim]:
    probe, tuned = (lambda task, amount=0.1, p=p: What(Cell(task, p, amount)) for p in ("probe", "fine-tuned"))
    shift = What(Cell("chestxray14", "shift", 1.0)), What(Cell("kermany", "shift", 1.0))
    for what in (probe("kermany"), tuned("kermany"), probe("chestxray14"), tuned("chestxray14"), *shift):
        yield Claim("MICLe", "MICLe", "SimCLR", what)
    for what in (probe("kermany"), tuned("kermany"), *shift):
        yield Claim("MICLe", "ImageNet → SimCLR → MICLe", _IMAGENET, what)
    gaze = What(Cell("kermany", "fine-tuned", 0.1), "attention")
    for order in _ORDERS:
        for other in (_SCRATCH, *_SINGLE):
            yield from (Claim("curricular", order, other, what) for what in (probe("kermany"), tuned("kermany")))
        yield from (Claim("curricular", order, other, gaze) for other in ("", _SCRATCH, *_SINGLE))
    for task in _TASKS:
        yield Claim("SPCXR", "SPCXR (SiT)", _SCRATCH_VIT, probe(task), margin=0.1)
        yield Claim("SPCXR", "SPCXR (SiT)", _SCRATCH_VIT, tuned(task), margin=0.1)
    yield Claim("SPCXR", "SPCXR (SiT)", "GMML alone", probe("kermany"))
    for count in (5, 10, 50):
        yield Claim("SPCXR", "SPCXR (SiT)", _SCRATCH_VIT, What(Cell("lungs", "fine-tuned", count), "dice"))
    yield from (Claim("SPCXR", "SPCXR (SiT)", _SCRATCH_VIT, what) for what in shift)
    for row in WITH_LUNGS:
        both = What(Cell("kermany", "with-lungs", 0.1), "f1")
        yield Claim("fine-grained", row, row, both, What(Cell("kermany", "fine-tuned", 0.1), "f1"))
    for row in ("MoCo v2", "inpainting-CXR"):
        for other in (_SCRATCH, _IMAGENET):
            yield Claim("fine-grained", row, other, What(Cell("kermany", "fine-tuned", 0.1), "f1"))
    for row in ROWS:
        same = {_row(name).encoder: name for name in (_SCRATCH, _SCRATCH_VIT)}.get(row.encoder)
        for task in _TASKS if row.encoder else ():
            # No recipe is starved: fine-tuned is not much below the probe, and pretrained not below random.
            yield Claim("recipe", row.name, row.name, tuned(task, 1.0), probe(task, 1.0), margin=-0.02)
            if row.bundle and same:
                yield Claim("recipe", row.name, same, tuned(task, 1.0), margin=-0.02)
            if row.bundle:
                yield Claim("pixels", row.name, ROWS[0].name, probe(task))
        if row.bundle and same:
            yield Claim("few masks", row.name, same, What(Cell("lungs", "fine-tuned", 10), "dice"))


def _row(name: str) -> Row:
    return next(row for row in ROWS if row.name == name)


CLAIMS = tuple(_claims())


def verdicts(results: Results) -> list[Verdict]:
    """Try all claims."""
    return [_verdict(results, claim) for claim in CLAIMS]


def _verdict(results: Results, claim: Claim) -> Verdict:
    row, found = _row(claim.row), None
    if not claim.other:
        found = results.above_chance(row, claim.what.cell)
    else:
        found = results.difference(row, claim.what, _row(claim.other), claim.instead)
    if found is None:
        return Verdict(claim, None, "not run")
    word = "shown" if found.low > claim.margin else "contradicted" if found.high < claim.margin else "not shown"
    return Verdict(claim, found, word)


def claim_text(claim: Claim) -> list[str]:
    """Return the cells of a table that say what is claimed."""
    cell = claim.what.cell
    where = "patients of the other source" if cell.protocol == "shift" else f"{cell.protocol}, {_amount(cell)}"
    instead = f" ({claim.instead.cell.protocol})" if claim.instead else ""
    margin = f" {claim.margin:+g}" if claim.margin else ""
    return [claim.paper, f"{claim.row} > {claim.other or 'chance'}{instead}{margin}",
            f"{_TASKS.get(cell.task, cell.task)}, {where}: {_KINDS[claim.what.kind]}"]  # fmt: skip


def _amount(cell: Cell) -> str:
    return f"{cell.amount:g} masks" if cell.amount > 1 else f"{100 * cell.amount:g} %"
