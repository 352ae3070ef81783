# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Every pretext method on real X-rays: what its encoder is worth with few labels.

    python benchmarks/pretext_methods.py --data ../shared/data --work DIR [--epochs 30] [--image_size 96] [--draws 10]

The paediatric images of Kermany et al. are divided by patient, 60 to 40. Each method pretrains one encoder, from its
bundle and without labels, for the same number of epochs on the images of the 60 % together with all images of the
ChestX-ray14 subset and of covid-chestxray-dataset. Then the labels of 1, 10 and 100 % of the 60 % train a linear probe
on the frozen encoder, and the whole network with a new linear layer. Scored is the macro area under the ROC curve over
the three classes on the 40 %, which nothing was trained or chosen on.

Each draw takes other patients' labels, the same for all encoders, and for the random encoders other weights. Intervals
are 95 % percentile intervals of a bootstrap over test patients and draws, paired for the difference from the random
encoder of the same architecture. Every method is pretrained once: the intervals do not hold the spread between
pretraining runs.

Each step leaves a file in ``--work``: a run that was stopped goes on where it was. The table is printed, and written
with the plot to ``--out``; ``--page docs/pretext_methods.md`` also puts it into that page, between its two marks.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from draw_intervals import auc_of_draw, intervals
from few_labels import BATCH, balanced_cross_entropy, forward, linear_scores, predict_in_autocast, train_briefly
from page_marks import into_page
from pretraining_runs import CNN, ROOT, RUNS, VIT, file_name, pretrain, write_corpus
from reading import processor
from torch import Tensor, nn
from tqdm import tqdm

from monai_cxrssl.data import Datalist, decoded_side, index_folder, open_images
from monai_cxrssl.data.datalists.split import label_fraction, split_datalist
from monai_cxrssl.files import write_json
from monai_cxrssl.networks import Encoder
from monai_cxrssl.transforms import MultiView, ResizeCXR

__all__ = ["main"]

FRACTIONS = (0.01, 0.1, 1.0)
PROTOCOLS = ("linear", "fine-tuned")


def prepare(data: Path, work: Path, seed: int) -> Datalist:
    """Divide Kermany by patient and write the unlabeled corpus of pretraining; returns the divided set."""
    target = split_datalist(index_folder(data / "kermany-pediatric"), (0.6, 0.0, 0.4), seed=seed)
    corpus = [dict(item) for item in target.items("training")]
    for folder in ("nih-chestxray14-subset", "covid-chestxray-dataset"):
        corpus += [dict(item) for item in index_folder(data / folder).all_items()]
    write_corpus(corpus, work / "corpus.json")
    return target


def encoder_of(encoder: str, weights: Path | None, draw: int) -> Encoder:
    """Build an encoder: random, of another seed in each draw, or pretrained."""
    torch.manual_seed(1000 + draw)
    return Encoder(encoder, pretrained=weights)


def fine_tuned_scores(
    network: Encoder,
    images: list[np.ndarray],
    labels: np.ndarray,
    test: torch.Tensor,
    classes: int,
    size: int,
    draw: int,
) -> np.ndarray:
    """Class probabilities of the whole network after training on few images; the last weights, nothing chosen."""
    torch.manual_seed(2000 + draw)
    model = nn.Sequential(network, nn.Linear(network.out_channels, classes))
    nn.init.zeros_(model[1].weight)
    model.to(memory_format=torch.channels_last)
    loss = balanced_cross_entropy(labels, classes)
    views = MultiView(size=size, num_views=1, scale=(0.6, 1.0), rotation=10, seed=draw)

    def loss_of(step: int, chosen: Sequence[int]) -> Tensor:
        films = torch.cat([views(images[index][None], key=(step, index)) for index in chosen])
        value: Tensor = loss(predict_in_autocast(model, films), torch.from_numpy(labels[list(chosen)]))
        return value

    steps = int(np.clip(10 * len(images) / min(BATCH, len(images)), 60, 200))
    train_briefly(model, model[0].parameters(), model[1].parameters(), len(images), loss_of, steps, draw)
    return forward(model, test)


def score(name: str, encoder: str, weights: Path | None, target: Datalist, args: argparse.Namespace) -> dict[str, Any]:
    """Test scores ``(draws, films, classes)`` of every protocol and fraction, from a file where they are known."""
    folder = args.work / f"scores_{file_name(name)}"
    folder.mkdir(parents=True, exist_ok=True)
    store = {
        split: open_images(
            target.items(split), decoded_side(args.image_size), cache_dir=args.work / "cache", progress=False
        )
        for split in ("training", "test")
    }
    resize = ResizeCXR(size=args.image_size)
    films = {k: torch.stack([resize(s.image(i)[None]) for i in range(len(s))]) for k, s in store.items()}
    films = {split: (part.float() / 255 if part.dtype == torch.uint8 else part) for split, part in films.items()}
    place = {item["image"]: index for index, item in enumerate(store["training"].items)}
    classes = len(target.classes)
    result: dict[str, Any] = {}
    # With all labels a draw changes only the seed, and fine-tuning takes longest: fewer of them.
    tuned = {fraction: args.full_draws if fraction == 1 else args.tuning_draws for fraction in FRACTIONS}
    draws = {(p, f): tuned[f] if p == "fine-tuned" else args.draws for p in PROTOCOLS for f in FRACTIONS}
    cells = [(p, f, d) for (p, f), count in draws.items() for d in range(count)]
    features: dict[int, dict[str, np.ndarray]] = {}
    for protocol, fraction, draw in tqdm(cells, desc=f"score {name}", leave=False):
        file = folder / f"{protocol}_{fraction}_{draw}.npy"
        if not file.is_file():
            kept = label_fraction(target, fraction, draw).items("training")
            chosen = np.array([place[item["image"]] for item in kept if item["image"] in place])
            labels = np.array([store["training"].items[index]["label"] for index in chosen])
            if protocol == "linear":
                # A pretrained encoder is the same in all draws, a random one in none.
                start = draw if weights is None else 0
                if start not in features:
                    network = encoder_of(encoder, weights, start).to(memory_format=torch.channels_last)
                    features[start] = {split: forward(network, part) for split, part in films.items()}
                scores = linear_scores(features[start]["training"][chosen], labels, features[start]["test"], classes)
            else:
                network = encoder_of(encoder, weights, draw)
                images = [store["training"].image(int(index)) for index in chosen]
                scores = fine_tuned_scores(network, images, labels, films["test"], classes, args.image_size, draw)
            with open(file.with_suffix(".partial"), "wb") as stream:
                np.save(stream, scores)
            file.with_suffix(".partial").replace(file)
        result.setdefault(f"{protocol} {fraction}", []).append(np.load(file))
    return {key: np.stack(value) for key, value in result.items()}


def compared(labels: np.ndarray, patients: np.ndarray, scores: np.ndarray, other: np.ndarray) -> dict[str, list[float]]:
    """Macro AUC, mean over draws, and its difference from that of ``other``, each with its interval."""
    figures, others = ([auc_of_draw(draw, labels) for draw in model] for model in (scores, other))
    found = intervals(figures, others, patients, labels)
    return {"auc": found["value"], "difference": found["difference"]}


def table(report: dict[str, Any]) -> str:
    """The report as Markdown."""
    lines = []
    for protocol in PROTOCOLS:
        lines += [f"**{protocol}**", "", "| encoder | " + " | ".join(f"{100 * f:g} %" for f in FRACTIONS) + " |"]
        lines.append("|---|" + "---|" * len(FRACTIONS))
        for name, row in report["rows"].items():
            cells = []
            for fraction in FRACTIONS:
                cell = row[f"{protocol} {fraction}"]
                text = "{:.3f} [{:.3f}, {:.3f}]".format(*cell["auc"])
                if not name.startswith("random"):
                    text += "; {:+.3f} [{:+.3f}, {:+.3f}]".format(*cell["difference"])
                cells.append(text)
            lines.append(f"| {name} | " + " | ".join(cells) + " |")
        lines.append("")
    return "\n".join(lines)


def setting(report: dict[str, Any]) -> str:
    """What was run, in one paragraph, and what it cost."""
    films, patients = report["test"]["films"], report["test"]["patients"]
    lines = [
        f"{report['date']}, {report['device']}, {report['versions']}: {report['epochs']} epochs at "
        f"{report['image_size']} px, batch {report['batch_size']}, seed 0; {report['draws']} draws of labels for the "
        f"linear probe, {report['tuning_draws']} for fine-tuning ({report['full_draws']} with all labels); scored on "
        f"{films} images of {patients} patients. Macro AUC with 95 % interval; after the semicolon the difference from "
        "the random encoder of the same architecture.",
        "",
        "| pretraining | encoder | images | minutes of training |",
        "|---|---|---|---|",
    ]
    for name, row in report["pretraining"].items():
        lines.append(f"| {name} | `{row['encoder_name']}` | {row['images']} | {row['seconds'] / 60:.1f} |")
    return "\n".join(lines)


def plot(report: dict[str, Any], path: Path) -> None:
    """Differences from the random encoder, with their intervals."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    names = [name for name in report["rows"] if not name.startswith("random")]
    figure = Figure(figsize=(9, 0.42 * len(names) + 1.6), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(1, 2, sharex=True, sharey=True)
    for axis, protocol in zip(axes, PROTOCOLS, strict=True):
        for offset, (fraction, colour) in enumerate(zip(FRACTIONS, ("#b3402a", "#1f5fa8", "#3f7f3f"), strict=True)):
            cells = [report["rows"][name][f"{protocol} {fraction}"]["difference"] for name in names]
            value, low, high = np.array(cells).T
            height = np.arange(len(names)) + 0.22 * (offset - 1)
            axis.errorbar(value, height, xerr=[value - low, high - value], fmt="o", ms=4, capsize=2, color=colour,
                          label=f"{100 * fraction:g} % of the labels")  # fmt: skip
        axis.axvline(0, color="0.5", lw=1)
        axis.set(title=protocol, xlabel="macro AUC over the random encoder's")
        axis.grid(axis="x", alpha=0.25)
        axis.spines[["top", "right"]].set_visible(False)
    axes[0].set_yticks(range(len(names)), names)
    axes[0].invert_yaxis()
    axes[1].legend(frameon=False, fontsize=8)
    figure.savefig(path, dpi=130)


def main() -> None:
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data")
    parser.add_argument("--work", type=Path, required=True, help="folder for everything in between")
    parser.add_argument("--out", type=Path, help="folder for the table and the plot, by default --work")
    parser.add_argument("--page", type=Path, help="page to put the table into")
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--image_size", type=int, default=96)
    parser.add_argument("--batch_size", type=int, default=64)
    parser.add_argument("--draws", type=int, default=10, help="draws of labels for the linear probe")
    parser.add_argument("--tuning_draws", type=int, default=5, help="draws of labels to fine-tune on")
    parser.add_argument("--full_draws", type=int, default=3, help="runs of fine-tuning on all labels")
    parser.add_argument("--only", nargs="+", help="names of the methods to run, by default all; for several processes")
    parser.add_argument("--split_seed", type=int, default=1, help="seed of the division by patient")
    parser.add_argument("--pretrain_only", action="store_true", help="stop before anything is scored")
    args = parser.parse_args()
    args.work = args.work.resolve()
    args.out = (args.out or args.work).resolve()
    args.work.mkdir(parents=True, exist_ok=True)
    args.out.mkdir(parents=True, exist_ok=True)
    target = prepare(args.data.resolve(), args.work, args.split_seed)
    test = target.items("test")
    labels = np.array([item["label"] for item in test])
    patients = np.array([item["patient_id"] for item in test])
    runs = [run for run in RUNS if not args.only or run.name in args.only]
    trained = {
        run.name: pretrain(
            run, args.work / file_name(run.name), args.work, args.image_size, args.batch_size, args.epochs
        )
        for run in runs
    }
    if args.pretrain_only:
        return
    random = {encoder: score(f"random {encoder}", encoder, None, target, args) for encoder in (CNN, VIT)}
    report: dict[str, Any] = {
        "date": time.strftime("%Y-%m-%d"), "device": f"{processor()}, {os.cpu_count()} cores, no GPU",
        "versions": f"Python {platform.python_version()}, torch {torch.__version__}",
        "epochs": args.epochs, "image_size": args.image_size, "batch_size": args.batch_size, "draws": args.draws,
        "tuning_draws": args.tuning_draws, "full_draws": args.full_draws, "split_seed": args.split_seed,
        "test": {"films": len(test), "patients": len(np.unique(patients))}, "pretraining": {}, "rows": {},
    }  # fmt: skip
    for encoder, scores in random.items():
        report["rows"][f"random {encoder}"] = {k: compared(labels, patients, v, v) for k, v in scores.items()}
    for name, _, encoder, _ in runs:
        weights = trained[name]
        figures = json.loads((weights.parent / "metrics.json").read_text(encoding="utf-8"))
        report["pretraining"][name] = {key: figures[key] for key in ("encoder_name", "images", "seconds", "epochs")}
        scores = score(name, encoder, weights, target, args)
        rows = {key: compared(labels, patients, value, random[encoder][key]) for key, value in scores.items()}
        report["rows"][name] = rows
        write_json(report, args.out / "pretext_methods.json")
        print(
            f"{name}: "
            + ", ".join("{} {:.3f} ({:+.3f})".format(k, v["auc"][0], v["difference"][0]) for k, v in rows.items())
        )
    text = f"{setting(report)}\n\n{table(report)}"
    (args.out / "pretext_methods.md").write_text(text, encoding="utf-8")
    plot(report, args.out / "pretext_methods.png")
    print(text)
    if args.page:
        into_page(args.page, text)


if __name__ == "__main__":
    main()
