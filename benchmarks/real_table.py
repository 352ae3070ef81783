# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""The tables of ``real_cxr.py`` as Markdown: all figures for its page, the gist for the README."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

__all__ = ["page_text", "readme_text"]

TITLES = {"linear": "linear probe", "fine-tuned": "fine-tuned"}
#: Amount that the README shows, by protocol of a labelled task; and of masks.
SHORT, SHORT_MASKS = "10 %", "10 masks"
COST = (
    "Core-minutes are minutes of processor time of one core, start of the process and decoding included; other work on "
    "the machine delays a run, and adds to these only in so far as it takes caches and clock. Images are films of the "
    "corpus, times epochs; the contrastive methods draw two views of each."
)


def page_text(report: Mapping[str, Any]) -> str:
    """Everything that was measured, as paragraphs and tables."""
    parts = [_wrapped(_setting(report)), _films(report["tasks"])]
    for key in _labelled(report):
        for protocol, title in TITLES.items():
            parts += [f"**{report['tasks'][key]['name']}: {title}, macro AUC**", _figures(report, key, protocol)]
    parts += [f"**{report['tasks']['lungs']['name']}: fine-tuned, Dice**", _figures(report, "lungs", "fine-tuned")]
    parts += [_wrapped(" ".join(_reasons(report)))]
    parts += ["**Attention on the lungs**", _wrapped(_attention_words(report)), _attention(report)]
    parts += ["**Cost**", _wrapped(COST), _cost(report)]
    return "\n\n".join(part for part in parts if part) + "\n"


def readme_text(report: Mapping[str, Any]) -> str:
    """One table: each task with the labels of 10 % of the patients, or 10 masks."""
    keys = _labelled(report)
    sources = [report["tasks"][key]["name"].split(",")[0] for key in keys]
    rows = [["encoder", *(f"{name}: {title}" for name in sources for title in TITLES.values()), "lungs: Dice"]]
    for name, tasks in report["figures"].items():
        cells = [tasks[key][f"{protocol} {SHORT}"] for key in keys for protocol in TITLES]
        rows.append([name, *(_short(cell) for cell in (*cells, tasks["lungs"][f"fine-tuned {SHORT_MASKS}"]))])
    words = (
        f"{_where(report)}. Macro AUC with the labels of 10 % of the patients, Dice with 10 masks, on patients whom no "
        "training has seen; **bold**: better than the random encoder of the same architecture, *italic*: worse, with a "
        "95 % interval of the difference that is clear of zero."
    )
    return f"{aligned(rows)}\n\n{_wrapped(words)}\nMade by `python benchmarks/real_cxr.py --work DIR`.\n"


def aligned(rows: Sequence[Sequence[str]]) -> str:
    """Rows, the first of which is the head, as a Markdown table whose columns line up."""
    widths = [max(3, *(len(row[column]) for row in rows)) for column in range(len(rows[0]))]
    lines = [[cell.ljust(width) for cell, width in zip(row, widths, strict=True)] for row in rows]
    lines.insert(1, ["-" * width for width in widths])
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _labelled(report: Mapping[str, Any]) -> list[str]:
    return [key for key in report["tasks"] if key not in ("lungs", "corpus")]


def _where(report: Mapping[str, Any]) -> str:
    machine = report["cost"]["machine"]
    return f"{report['cost']['date']}, {machine['processor']}, one thread per process, no GPU used"


def _wrapped(words: str) -> str:
    return textwrap.fill(words, width=120, break_long_words=False, break_on_hyphens=False)


def _setting(report: Mapping[str, Any]) -> str:
    machine, chosen = report["cost"]["machine"], report["settings"]
    versions = ", ".join(f"{name} {machine[name]}" for name in ("python", "torch", "monai", "timm"))
    return (
        f"{_where(report)}; {versions}. Every pretraining: {chosen['epochs']} epochs at {chosen['image_size']} px, "
        f"batch {chosen['batch_size']}, seed 0. Fine-tuning: {chosen['steps']} steps of 16 films or fewer on 1 and "
        f"10 % of the labels, {chosen['full_steps']} on all, {chosen['mask_steps']} on masks; the last weights are "
        f"scored. {chosen['draws']} draws of labels or masks, {chosen['full_draws']} runs of fine-tuning on all labels "
        "and on 50 masks. A cell is the mean over the draws with its 95 % interval; after the semicolon the difference "
        "from the random encoder of the same architecture."
    )


def _films(tasks: Mapping[str, Any]) -> str:
    rows = [["task", "to learn from: films (patients)", "scored on: films (patients)", "scored films by class"]]
    for key, task in tasks.items():
        if key == "corpus":
            continue
        sizes = [f"{task[split]['films']} ({task[split]['patients']})" for split in ("training", "test")]
        counts = zip(task.get("classes", ()), task["test"].get("by_class", ()), strict=True)
        rows.append([task["name"], *sizes, ", ".join(f"{count} {name}" for name, count in counts) or "–"])
    corpus = tasks["corpus"]
    rows.append(["pretraining, unlabelled", f"{corpus['films']} ({corpus['patients']})", "–", "–"])
    return aligned(rows)


def _figures(report: Mapping[str, Any], key: str, protocol: str) -> str:
    amounts = [name for name in next(iter(report["figures"].values()))[key] if name.startswith(protocol)]
    rows = [["encoder", *(name.removeprefix(protocol).strip() for name in amounts)]]
    for name, tasks in report["figures"].items():
        plain = name.startswith("random")
        rows.append([name, *(_cell(tasks[key][amount], plain) for amount in amounts)])
    return aligned(rows)


def _cell(found: Mapping[str, Any], plain: bool) -> str:
    if "value" not in found:
        return "not run" if found["no_figure"] == "not run" else "no figure"
    text = "{:.3f} [{:.3f}, {:.3f}]".format(*found["value"])
    if not plain and "difference" in found:
        text += "; {:+.3f} [{:+.3f}, {:+.3f}]".format(*found["difference"])
    return text


def _short(found: Mapping[str, Any]) -> str:
    if "value" not in found:
        return "–"
    text = f"{found['value'][0]:.3f}"
    _, low, high = found.get("difference", (0, 0, 0))
    return f"**{text}**" if low > 0 else f"*{text}*" if high < 0 else text


def _reasons(report: Mapping[str, Any]) -> list[str]:
    """Why cells have no figure, each reason once."""
    found: dict[str, None] = {}
    for tasks in report["figures"].values():
        for key, cells in tasks.items():
            for amount, cell in cells.items():
                if cell.get("no_figure", "not run") != "not run":
                    of_what = amount.split(" ", 1)[1]  # without the protocol, for which the reason is the same
                    found[f"{report['tasks'][key]['name']}, {of_what}: no figure, since {cell['no_figure']}."] = None
    return list(found)


def _attention_words(report: Mapping[str, Any]) -> str:
    known = [row for row in report["attention"].values() if "films" in row]
    if not known:
        return ""
    return (
        f"Of the networks fine-tuned on all labels of {report['tasks']['covid']['name']}: share of the saliency for "
        "the predicted class (HiResCAM, of transformers token Grad-CAM) that lies on the lungs, beside chance, the "
        f"share of the film that is lung; on up to {max(row['films'] for row in known)} test films of "
        f"{max(row['patients'] for row in known)} patients with a lung mask."
    )


def _attention(report: Mapping[str, Any]) -> str:
    rows = [["encoder", "on the lungs", "chance", "above chance", "against the random encoder", "maximum on the lungs"]]
    for name, row in report["attention"].items():
        if row.get("on_lungs") is None:
            rows.append([name, row.get("no_figure", "no figure"), *["–"] * 4])
            continue
        highest = "–" if row["maximum_on_lungs"] is None else f"{100 * row['maximum_on_lungs']:.0f} %"
        against = "–" if name.startswith("random") else _points(row.get("difference"))
        shares = [f"{100 * row[part]:.1f} %" for part in ("on_lungs", "chance")]
        rows.append([name, *shares, _points(row["above_chance"]), against, highest])
    return aligned(rows)


def _points(found: Sequence[float | None] | None) -> str:
    if found is None or None in found:
        return "–"
    return "{:+.1f} [{:+.1f}, {:+.1f}] points".format(*(100 * float(value or 0) for value in found))


def _cost(report: Mapping[str, Any]) -> str:
    head = ["encoder", "architecture", "pretraining, core-minutes", "images per core-second", "cells, core-minutes"]
    rows = [head]
    for name, row in report["cost"]["runs"].items():
        own = [
            f"{row[part]:.1f}" if part in row else "–"
            for part in ("pretraining_core_minutes", "images_per_core_second")
        ]
        again = " (resumed: of the last part)" if row.get("resumed") else ""
        cells = f"{row['cells_core_minutes']:.1f} ({row['cells']} cells)"
        rows.append([name, f"`{row['encoder']}`", own[0] + again, own[1] if not again else "–", cells])
    return aligned(rows)
