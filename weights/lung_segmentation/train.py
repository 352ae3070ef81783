# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Training of the lung segmentation weights that the package ships.

Trains ``bundles/lung_segmentation`` from random weights by its own recipe, with the views of ``overrides.json`` and the
images of ``films.py``, in stages of growing image size; each stage starts from the one before. Run it from the root of
the repository; a run that was stopped goes on where its last checkpoint stands::

    python -m weights.lung_segmentation.train --corpus CORPUS --data DATA --output_dir OUT
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path

from monai_cxrssl.handlers.paused_run import PAUSED
from weights.lung_segmentation.films import Films, divided

BUNDLE = Path("bundles/lung_segmentation/train.json")
OVERRIDES = Path(__file__).with_name("overrides.json")
#: 2.8 million weights: a ResNet-18 with half the channels and fewer, and smp's feature pyramid.
NETWORK = {"encoder_name": "tu-resnet18", "encoder_arguments": {"channels": [32, 64, 96, 128]}, "decoder": "FPN"}
RECIPE = {
    "crop_scale": [0.5, 1.0], "rotation": 45.0, "linear_probe_first": 0.0, "head_factor": 1.5, "weight_decay": 0.02,
    "amp": "bf16",
}  # fmt: skip
#: Image side, batch size, steps, learning rate, and the share of the steps after which the stage ends:
#: untested, since ``evaluate.py`` does that.
STAGES = ((160, 32, 800, 0.003, 0.65), (256, 16, 440, 0.002, 0.85))


def stage_command(
    stage: tuple[int, int, int, float, float], datalist: Path, folder: Path, start: Path | None, seed: int
) -> list[str]:
    """Return the command of one stage; ``start`` are the weights of the one before."""
    size, batch_size, steps, rate, share = stage
    options = {
        **NETWORK, **RECIPE, "datalist": str(datalist), "recipe": "full", "image_size": size, "batch_size": batch_size,
        "max_steps": steps, "learning_rate": rate, "seed": seed, "output_dir": str(folder),
        "model_path": str(folder / "kept" / "model.pt"), "checkpoint_minutes": 3, "replace": True,
    }  # fmt: skip
    options["pause_at"] = share
    if start is not None:
        options["pretrained"] = str(start)
    if any((folder / "checkpoints").glob("*")):
        options["resume"] = "auto"
    told = [text for name, value in options.items() for text in (f"--{name}", str(value))]
    configs = f"['{BUNDLE}','{OVERRIDES}']"
    return [sys.executable, "-m", "monai.bundle", "run", "--config_file", configs, *told]


def stage_folder(output_dir: Path, number: int) -> Path:
    """Return the folder of a stage's run."""
    return (output_dir / f"stage_{number}").resolve()


def best_weights(output_dir: Path, number: int) -> Path:
    """Return the weights of a stage, those of its best validation."""
    return stage_folder(output_dir, number) / "checkpoints" / "best.pt"


def main() -> None:
    """Write the datalist and run the stages that are not complete."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--corpus", type=Path, required=True, help="folder of kermany-pediatric, jsrt ...")
    parser.add_argument("--data", type=Path, required=True, help="folder of covid-chestxray-dataset")
    parser.add_argument("--output_dir", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--start", type=Path, help="weights to go on from, instead of random ones")
    parser.add_argument(
        "--stages", default=json.dumps(STAGES), help="image side, batch size, steps, rate, share of each"
    )
    parser.add_argument("--most", type=int, help="for a trial: so many images of each split, evenly spread")
    arguments = parser.parse_args()
    arguments.output_dir.mkdir(parents=True, exist_ok=True)
    datalist = arguments.output_dir / "datalist.json"
    films = divided(Films(arguments.corpus, arguments.data), arguments.seed)
    if arguments.most:
        films = {split: items[:: -(-len(items) // arguments.most)] for split, items in films.items()}
    datalist.write_text(json.dumps({"name": "lungs", "classes": [], "task": "multi_class", **films}), encoding="utf-8")
    start = arguments.start
    for number, stage in enumerate(json.loads(arguments.stages)):
        folder = stage_folder(arguments.output_dir, number)
        if not (folder / PAUSED).exists():
            subprocess.run(stage_command(stage, datalist.resolve(), folder, start, arguments.seed), check=True)
        start = best_weights(arguments.output_dir, number)


if __name__ == "__main__":
    main()
