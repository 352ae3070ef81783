# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Card of the shipped lung segmentation weights, made of their file and their figures.

Run it from the root of the repository, once ``figures.json`` and ``worst.jpg`` of ``evaluate.py`` lie beside the
weights::

    python -m weights.lung_segmentation.card --corpus CORPUS --data DATA
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from pathlib import Path
from typing import Any

import jinja2

from monai_cxrssl.files import sha256
from monai_cxrssl.networks import read_weights, require_description
from weights.lung_segmentation.export import TARGET
from weights.lung_segmentation.films import Films, divided
from weights.lung_segmentation.measure import VARIANTS

#: What the figures' names stand for.
_SOURCES = {
    "children": "Kermany, children, human masks of v7labs",
    "hospital, radiologists' masks": "covid-chestxray-dataset, masks of radiologists",
    "hospital, v7labs' masks": "covid-chestxray-dataset, masks of v7labs",
    "hospital, v7labs' masks, portable (AP)": "of these, portable (AP, AP supine)",
    "JSRT": "JSRT",
    "OpenIST": "OpenIST",
}


def interval(content: dict[str, float] | None) -> str:
    """Return a value with its interval, nothing of none."""
    return "" if not content else f"{content['value']:.3f} ({content['ci_low']:.3f} to {content['ci_high']:.3f})"


def main() -> None:
    """Write ``README.md`` beside the weights."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--corpus", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--note", default="", help="a sentence on the training")
    arguments = parser.parse_args()
    figures: dict[str, Any] = json.loads(TARGET.with_name("figures.json").read_text(encoding="utf-8"))
    counts = {}
    for split, items in divided(Films(arguments.corpus, arguments.data)).items():
        by_source = Counter(item["source"] for item in items)
        counts[split] = {"children": by_source["kermany-pediatric"], "adults": by_source["covid-chestxray-dataset"]}
    changed = [
        (_SOURCES[source], change, figures[f"{source}; {change}"])
        for source in _SOURCES
        for change in VARIANTS
        if f"{source}; {change}" in figures
    ]
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent), trim_blocks=True, keep_trailing_newline=True,
        undefined=jinja2.StrictUndefined,
    )  # fmt: skip
    text = environment.get_template("card.md.j2").render(
        settings=require_description(TARGET),
        weights=sum(value.numel() for value in read_weights(TARGET).values()),
        megabytes=TARGET.stat().st_size / 1e6,
        digest=sha256(TARGET),
        films=counts,
        sources=[(words, {"dice_outside_heart": None, **figures[name]}) for name, words in _SOURCES.items()],
        changed=changed,
        lateral=figures["lateral images"],
        jsrt=figures["JSRT"],
        interval=interval,
        note=arguments.note,
    )
    TARGET.with_name("README.md").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
