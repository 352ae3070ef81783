# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""A second inference into a folder leaves what a user put there and nothing of the first."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from ignite.engine import Engine, Events
from PIL import Image

from monai_cxrssl.data import DecodedImages, load_predictions
from monai_cxrssl.errors import ConfigurationError
from monai_cxrssl.handlers import InferenceWriter
from monai_cxrssl.handlers.inference.written_files import WrittenFiles
from monai_cxrssl.networks import PredictionHead
from monai_cxrssl.transforms import ResizeCXR


def films(folder: Path, names) -> DecodedImages:
    folder.mkdir()
    for name in names:
        Image.fromarray(np.arange(2000, dtype=np.uint16).reshape(80, 25).repeat(4, 1).astype(np.uint8)).save(
            folder / f"{name}.png"
        )
    items = [{"image": str(folder / f"{name}.png"), "patient_id": name} for name in names]
    return DecodedImages(items, side=64, progress=False)


def infer(images: DecodedImages, out: Path, masks: bool = True, batches: int | None = None, **options) -> None:
    """Run the writer over the images, one a batch; ``batches`` ends it early, as a kill does."""

    def step(engine, batch):
        output = {"label": torch.zeros(1, 2), "mask": torch.ones(1, 1, 8, 8)}
        return output if masks else {"label": output["label"]}

    engine = Engine(step)
    InferenceWriter(out, images, PredictionHead(classes=["x", "y"]), ResizeCXR(8), **options).attach(engine)
    data = [{"index": torch.tensor([number])} for number in range(len(images.items))]
    if batches is None:
        engine.run(data)
        return
    engine.add_event_handler(Events.ITERATION_COMPLETED, lambda engine: 1 / (batches - engine.state.iteration))
    with pytest.raises(ZeroDivisionError):
        engine.run(data)


def below(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_a_second_inference_leaves_nothing_of_the_first(tmp_path):
    first, second, out = films(tmp_path / "1", "ab"), films(tmp_path / "2", "bc"), tmp_path / "out"
    infer(first, out)
    (out / "masks" / "notes.txt").write_text("mine")
    (out / "masks" / "old.png").write_bytes(b"mine")
    infer(second, out)
    record = "inference_files.jsonl"
    mine = {"masks/notes.txt", "masks/old.png"}
    assert below(out) == {*mine, record, "predictions.csv", "masks.csv", "masks/b.png", "masks/c.png"}
    assert [item["mask"] for item in load_predictions(out / "predictions.csv").items] == ["masks/b.png", "masks/c.png"]
    infer(second, out, mask_format="nifti")
    assert below(out) == {*mine, record, "predictions.csv", "masks.csv", "masks/b.nii.gz", "masks/c.nii.gz"}
    infer(second, out, masks=False)
    assert below(out) == {*mine, record, "predictions.csv"}
    assert all("mask" not in item for item in load_predictions(out / "predictions.csv").items)


def test_what_a_killed_inference_wrote_is_removed_by_the_next(tmp_path):
    images, out = films(tmp_path / "1", "abc"), tmp_path / "out"
    infer(images, out, batches=2)
    # The second one's mask was waiting for a thread, or was being written.
    assert (
        {"inference_files.jsonl", "masks/a.png"}
        <= below(out)
        <= {"inference_files.jsonl", "masks/a.png", "masks/b.png"}
    )
    with open(out / "inference_files.jsonl", "a") as record:
        record.write('{"file": "masks/c.p')
    infer(films(tmp_path / "2", "d"), out)
    assert below(out) == {"inference_files.jsonl", "predictions.csv", "masks.csv", "masks/d.png"}


@pytest.mark.parametrize("recorded", [True, False])
def test_a_mask_that_a_user_drew_is_not_replaced(tmp_path, recorded):
    images, out = films(tmp_path / "1", "ab"), tmp_path / "out"
    if recorded:
        infer(images, out)
    (out / "masks").mkdir(parents=True, exist_ok=True)
    (out / "masks" / "b.png").write_bytes(b"drawn by hand")
    before = {name: (out / name).read_bytes() for name in below(out)}
    with pytest.raises(ConfigurationError, match=r"holds 1 files .* such as masks/b.png; give another --output_dir"):
        infer(images, out)
    assert {name: (out / name).read_bytes() for name in below(out)} == before
    infer(films(tmp_path / "2", "c"), out)
    assert (out / "masks" / "b.png").read_bytes() == b"drawn by hand"
    assert not (out / "masks" / "a.png").exists()


def test_an_inference_that_fails_at_once_removes_nothing(tmp_path):
    images, out = films(tmp_path / "1", "ab"), tmp_path / "out"
    infer(images, out)
    before = below(out)
    engine = Engine(lambda engine, batch: {"label": torch.zeros(1, 3)})
    InferenceWriter(out, images, PredictionHead(classes=["x", "y"]), ResizeCXR(8)).attach(engine)
    with pytest.raises(ConfigurationError, match="3 values per image for 2 classes"):
        engine.run([{"index": torch.tensor([0])}])
    assert below(out) == before


@pytest.mark.parametrize(
    "place", ["../films/a.png", "masks/../../films/a.png", "/etc/hosts", "films/a.png", "masks/.."]
)
def test_a_list_that_was_tampered_with_removes_nothing_elsewhere(tmp_path, place):
    out, film = tmp_path / "out", tmp_path / "films" / "a.png"
    for path in (film, out / "films" / "a.png"):
        path.parent.mkdir(parents=True)
        path.write_bytes(b"film")
    (out / "masks").mkdir()
    (out / "masks" / "keep").touch()
    (out / "inference_files.jsonl").write_text("\n".join([json.dumps({"file": place}), "[1]", '"x"', "nonsense"]))
    WrittenFiles(out).remove_earlier()
    assert film.exists()
    assert below(out) == {"films/a.png", "masks/keep"}
