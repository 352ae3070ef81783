# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Figures of lung segmentation weights on every source, and pictures of the worst.

Run it from the root of the repository; it writes ``figures.json`` and ``worst.jpg``, of the children, whose images may
be shown to everybody, into ``--output_dir``, and ``worst_of_all.jpg`` of all sources, which is for looking at alone::

    python -m weights.lung_segmentation.evaluate --corpus CORPUS --data DATA --output_dir OUT [--weights FILE]
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import pandas as pd

from monai_cxrssl.networks import SegmentLungs
from weights.lung_segmentation.films import Films, measured_sources
from weights.lung_segmentation.measure import VARIANTS, Measured, measure, summary

_CELL, _COLUMNS = 224, 5
#: Images of a source that are changed.
_MOST_CHANGED = 100


def lateral_films(films: Films) -> list[dict[str, str]]:
    """Return the lateral images of covid-chestxray-dataset, whose view the network is not told."""
    root = films.data / "covid-chestxray-dataset"
    rows = pd.read_csv(root / "metadata.csv", dtype=str, keep_default_na=False).to_dict("records")
    return [
        {"image": str((root / row["folder"] / row["filename"]).resolve()), "patient_id": row["patientid"]}
        for row in rows
        if row["view"] == "L" and (root / row["folder"] / row["filename"]).is_file()
    ]


def contact_sheet(worst: Sequence[Measured], path: Path) -> None:
    """Draw images with the human outline in green and the network's in orange."""
    cells = []
    for each in worst:
        picture = cv2.cvtColor(each.film, cv2.COLOR_GRAY2BGR)
        factor = _CELL / max(each.film.shape)
        size = (round(each.film.shape[1] * factor), round(each.film.shape[0] * factor))
        picture = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
        for mask, colour in ((each.human, (80, 220, 80)), (each.drawn, (0, 160, 255))):
            small = cv2.resize(mask.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST)
            lines, _ = cv2.findContours(small, cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
            cv2.drawContours(picture, lines, -1, colour, 1)
        cell = np.zeros((_CELL + 16, _CELL, 3), np.uint8)
        cell[: size[1], : size[0]] = picture
        words = f"{each.dice:.2f}{' warned' if each.warnings else ''} {Path(each.item['image']).stem}"[:32]
        cv2.putText(cell, words, (2, _CELL + 12), cv2.FONT_HERSHEY_SIMPLEX, 0.35, (255, 255, 255), 1, cv2.LINE_AA)
        cells.append(cell)
    cells += [np.zeros_like(cells[0])] * (-len(cells) % _COLUMNS)
    rows = [np.hstack(cells[start : start + _COLUMNS]) for start in range(0, len(cells), _COLUMNS)]
    cv2.imwrite(str(path), np.vstack(rows), [cv2.IMWRITE_JPEG_QUALITY, 85])


def main() -> None:
    """Measure, write figures and pictures, and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--corpus", type=Path, required=True, help="folder of kermany-pediatric, jsrt ...")
    parser.add_argument("--data", type=Path, required=True, help="folder of covid-chestxray-dataset")
    parser.add_argument("--output_dir", type=Path, required=True)
    parser.add_argument("--weights", type=Path, help="by default those that come with the package")
    parser.add_argument("--seed", type=int, default=0, help="of the division that the weights were trained by")
    arguments = parser.parse_args()
    arguments.output_dir.mkdir(parents=True, exist_ok=True)
    segment = SegmentLungs(arguments.weights)
    films = Films(arguments.corpus, arguments.data)
    sources = measured_sources(films, arguments.seed)
    measured = {name: measure(segment, items) for name, items in sources.items()}
    figures = {name: summary(films_of_source) for name, films_of_source in measured.items()}
    hospital = measured["hospital, v7labs' masks"]
    portable = [each for each in hospital if each.item.get("view_position", "").startswith("AP")]
    figures["hospital, v7labs' masks, portable (AP)"] = summary(portable)
    everything = [each for films_of_source in measured.values() for each in films_of_source]
    figures["lateral images"] = summary(measure(segment, lateral_films(films)))
    for source, items in sources.items():
        for name, variant in VARIANTS.items():
            figures[f"{source}; {name}"] = summary(measure(segment, items[:_MOST_CHANGED], variant))
    (arguments.output_dir / "figures.json").write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    everything.sort(key=lambda each: each.dice)
    contact_sheet(everything[:10], arguments.output_dir / "worst_of_all.jpg")
    shown = [each for each in everything if each.item["source"] == "kermany-pediatric"]
    contact_sheet(shown[:10], arguments.output_dir / "worst.jpg")
    for name, content in figures.items():
        dice = content.get("dice")
        words = "" if dice is None else f"{dice['value']:.3f} ({dice['ci_low']:.3f} to {dice['ci_high']:.3f})"
        print(f"{name:60} {content['films']:4} images  {words}  warned {content['warned']}")


if __name__ == "__main__":
    main()
