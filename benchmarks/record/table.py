# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Tables of the benchmark of record as Markdown: all for its page, the gist for the README."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

from record.cells import Cell, further_cells
from record.curves import FLAT_LOSS, FLAT_PROBE
from record.report import COLUMNS, amount_text

__all__ = ["aligned", "page_text", "readme_text"]

_TITLES = {"probe": "linear probe", "fine-tuned": "fine-tuned", "with-lungs": "fine-tuned with lungs"}
_SHORT = (
    *(Cell(task, protocol, 0.1) for task in ("kermany", "chestxray14") for protocol in ("probe", "fine-tuned")),
    Cell("lungs", "fine-tuned", 10),
)


def page_text(report: Mapping[str, Any]) -> str:
    """Return everything that was measured, as paragraphs and tables."""
    tasks = {**report["tasks"]["labelled"], **report["tasks"]["masked"]}
    parts = [_wrapped(_setting(report)), _films(report["tasks"]), _wrapped(" ".join(report["tasks"]["notes"]))]
    parts += ["**How far each pretraining went**", _wrapped(_CURVES), _curves(report)]
    groups: dict[tuple[str, str], list[Cell]] = {}
    further = [task for task in tasks if task not in {cell.task for cell in COLUMNS}]
    for cell in (*COLUMNS, *further_cells(further)):
        groups.setdefault((cell.task, cell.protocol), []).append(cell)
    for (task, protocol), cells in groups.items():
        measure = "Dice" if task in report["tasks"]["masked"] else "macro AUC"
        title = "pneumonia by a probe of the other source's images, AUC" if protocol == "shift" else \
            f"{_TITLES[protocol]}, {measure}"  # fmt: skip
        parts += [f"**{tasks[task]['name']}: {title}**", _figures(report, [_key(cell) for cell in cells])]
    names = ["kermany probe 10 % f1", "kermany fine-tuned 10 % f1", "kermany with-lungs 10 % f1"]
    parts += ["**Kermany, 3 classes: macro F1**", _figures(report, names)]
    crossed = [f"{task} fine-tuned 100 % shift" for task in report["tasks"]["labelled"]]
    parts += ["**Fine-tuned on all labels of one source: pneumonia in the other, AUC**", _figures(report, crossed)]
    parts += ["**Attention on the lungs**", _wrapped(_ATTENTION), _attention(report)]
    parts += ["**Claims**", _wrapped(_CLAIMS), _claims(report), "**Cost**", _wrapped(_COST), _cost(report)]
    return "\n\n".join(part for part in parts if part) + "\n"


_CURVES = (
    "AUC of a linear probe with the labels of 10 % of the patients, on validation patients, before pretraining, on its "
    f"way and at its end, the mean over three draws and over seeds. Flat is what gained less than {FLAT_PROBE} by the "
    f"probe and {100 * FLAT_LOSS:.0f} % of the loss in the last quarter of the steps."
)
_ATTENTION = (
    "Of the networks fine-tuned on 10 % of Kermany's labels: share of the saliency for the predicted class (HiResCAM, "
    "of transformers token Grad-CAM) that lies on the lungs, less the share of the image that is lung, on test images "
    "with a lung mask drawn by people."
)
_CLAIMS = (
    "A claim is shown where the 95 % interval of the paired difference lies above its margin (0 where none stands "
    "there), contradicted where it lies below, else not shown; then a difference of half the interval's width beyond "
    "the margin could have been seen. No correction is made for the number of claims."
)
_COST = (
    "Core-minutes are minutes of processor time of one core, start of the process and decoding included. Images are "
    "images of the corpus, times epochs; the contrastive methods draw two views of each."
)


def readme_text(report: Mapping[str, Any]) -> str:
    """Return one table: each task with the labels of 10 % of the patients, or 10 masks."""
    tasks = {**report["tasks"]["labelled"], **report["tasks"]["masked"]}
    heads = [f"{tasks[cell.task]['name'].split(',')[0]}: {_TITLES[cell.protocol]}" for cell in _SHORT[:-1]]
    rows = [["encoder", *heads, "lungs: Dice"]]
    for name, figures in report["figures"].items():
        rows.append([name, *(_short(figures.get(_key(cell), {})) for cell in _SHORT)])
    words = (
        f"{_where(report)}. Macro AUC with the labels of 10 % of the patients, Dice with 10 masks, on patients whom no "
        "training has seen; **bold**: better than the random encoder of the same architecture, *italic*: worse, with a "
        "95 % interval of the difference that is clear of zero. Only what is above the pixels, a logistic regression "
        "on 24 x 24 grey values, is a result. –: not run."
    )
    return f"{aligned(rows)}\n\n{_wrapped(words)}\nMade by `python benchmarks/real_cxr.py --work DIR`.\n"


def aligned(rows: Sequence[Sequence[str]]) -> str:
    """Rows, the first of which is the head, as a Markdown table whose columns line up."""
    widths = [max(3, *(len(row[column]) for row in rows)) for column in range(len(rows[0]))]
    lines = [[cell.ljust(width) for cell, width in zip(row, widths, strict=True)] for row in rows]
    lines.insert(1, ["-" * width for width in widths])
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _key(cell: Cell) -> str:
    return f"{cell.task} {cell.protocol} {amount_text(cell)}"


def _where(report: Mapping[str, Any]) -> str:
    machine = report["cost"]["machine"]
    return f"{report['cost']['date']}, {machine['processor']}, one thread per process, no GPU used"


def _wrapped(words: str) -> str:
    return textwrap.fill(words, width=120, break_long_words=False, break_on_hyphens=False)


def _setting(report: Mapping[str, Any]) -> str:
    machine, chosen = report["cost"]["machine"], report["settings"]
    versions = ", ".join(f"{name} {machine[name]}" for name in ("python", "torch", "monai", "timm"))
    return (
        f"{_where(report)}; {versions}. Images at {chosen['image_size']} px; pretraining in batches of "
        f"{chosen['pretraining_batch']}, fine-tuning {chosen['steps']} steps of {chosen['batch']} images, "
        f"{chosen['mask_steps']} on masks, with the recipe of the encoder's family and the weights that validation "
        "chose. A cell is the mean over pretrainings with its 95 % interval over patients and pretrainings and, in "
        "brackets, how many these are; after the semicolon the paired difference from the random encoder of the same "
        "architecture."
    )


def _films(tasks: Mapping[str, Any]) -> str:
    rows = [["task", *(f"{split}: images (patients)" for split in ("training", "validation", "test")), "test by class"]]
    for task in (*tasks["labelled"].values(), *tasks["masked"].values()):
        sizes = [f"{task[split]['films']} ({task[split]['patients']})" for split in ("training", "validation", "test")]
        counts = zip(task.get("by_class", ()), task.get("classes", ()), strict=True)
        rows.append([task["name"], *sizes, ", ".join(f"{count} {name}" for count, name in counts) or "–"])
    corpus = tasks["corpus"]
    sources = ", ".join(f"{size['films']} {name}" for name, size in corpus["sources"].items())
    rows.append(["pretraining, unlabelled", f"{corpus['films']} ({corpus['patients']})", "–", "–", sources])
    return aligned(rows)


def _curves(report: Mapping[str, Any]) -> str:
    rows = [
        ["pretraining", "steps", "probe: before → end", "last quarter", "loss: first → end (trivial)", "fall", "flat"]
    ]
    for name, curve in report["curves"].items():
        if curve is None:
            continue
        areas = "; ".join(f"{task} {area[0]:.3f} → {area[-1]:.3f}" for task, area in curve["areas"].items())
        losses = "–"
        if curve["losses"]:
            trivial = "" if curve["trivial_loss"] is None else f" ({curve['trivial_loss']:.3f})"
            if curve["reconstruction_loss"] is not None:
                trivial = f"; reconstruction {curve['reconstruction_loss']:.3f}{trivial}"
            losses = f"{curve['losses'][0][1]:.3f} → {curve['losses'][-1][1]:.3f}{trivial}"
        fall = "–" if curve["loss_fall"] is None else f"{100 * curve['loss_fall']:.1f} %"
        rows.append([name, f"{curve['steps'][-1]:.0f}", areas, f"{curve['probe_gain']:+.3f}", losses, fall,
                     "yes" if curve["flat"] else "no"])  # fmt: skip
    return aligned(rows)


def _figures(report: Mapping[str, Any], keys: Sequence[str]) -> str:
    there = [(name, [figures.get(key, {}) for key in keys]) for name, figures in report["figures"].items()]
    heads = [" ".join(key.split(" ")[2:4]) if key.endswith(("%", "masks")) else key for key in keys]
    rows = [["encoder", *heads]]
    rows += [[name, *map(_cell, cells)] for name, cells in there if any(cell.get("value") for cell in cells)]
    return aligned(rows) if len(rows) > 1 else "Not run."


def _cell(found: Mapping[str, Any]) -> str:
    if not found.get("value"):
        return "–"
    text = "{:.3f} [{:.3f}, {:.3f}] ({})".format(*found["value"])
    if found.get("difference"):
        text += "; {:+.3f} [{:+.3f}, {:+.3f}]".format(*found["difference"])
    return text


def _short(found: Mapping[str, Any]) -> str:
    if not found.get("value"):
        return "–"
    text = f"{found['value'][0]:.3f}"
    _, low, high, _ = found.get("difference") or (0, 0, 0, 0)
    return f"**{text}**" if low > 0 else f"*{text}*" if high < 0 else text


def _attention(report: Mapping[str, Any]) -> str:
    rows = [["encoder", "above chance", "against the random encoder"]]
    for name, found in report["attention"].items():
        if found["value"]:
            rows.append([name, _points(found["value"]), _points(found["difference"])])
    return aligned(rows)


def _points(found: Sequence[float] | None) -> str:
    if found is None:
        return "–"
    return "{:+.1f} [{:+.1f}, {:+.1f}] points".format(*(100 * value for value in found[:3]))


def _claims(report: Mapping[str, Any]) -> str:
    rows = [["paper", "claim", "by", "difference", "pretrainings", "verdict"]]
    for claim in report["claims"]:
        if claim["difference"] is not None:
            value, low, high, seeds = claim["difference"]
            word = claim["verdict"]
            if word == "not shown":
                word += f" (could have seen {max(value - low, high - value):.3f})"
            rows.append([*claim["claim"], f"{value:+.3f} [{low:+.3f}, {high:+.3f}]", str(seeds), word])
    return aligned(rows) if len(rows) > 1 else "Not run."


def _cost(report: Mapping[str, Any]) -> str:
    rows = [["encoder", "architecture", "pretrainings: core-minutes", "images per core-second", "cells: core-minutes"]]
    total = 0.0
    for name, row in report["cost"]["rows"].items():
        own = "–", "–"
        if "pretrainings" in row:
            own = (
                f"{row['pretrainings']}: {row['pretraining_core_minutes']:.1f}",
                f"{row['images_per_core_second']:.1f}",
            )
        total += row.get("pretraining_core_minutes", 0) + row["cells_core_minutes"]
        rows.append([name, f"`{row['encoder'] or '–'}`", *own, f"{row['cells']}: {row['cells_core_minutes']:.1f}"])
    return f"{aligned(rows)}\n\n{total / 60:.1f} core-hours in all."
