# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Embeddings of a folder decoded on the way: the files that decoding it first gives, and each image read once."""

from __future__ import annotations

import csv
import json
import logging
from collections import Counter
from pathlib import Path

import pytest
import torch
from ignite.engine import Events
from monai.engines import SupervisedEvaluator
from torch.utils.data import DataLoader

from monai_cxrssl.data import ImageDataset, InferenceDataset, InferenceLoader, open_images
from monai_cxrssl.data.stores import streamed
from monai_cxrssl.errors import DatalistError
from monai_cxrssl.handlers import EmbeddingWriter
from monai_cxrssl.networks import Encoder
from monai_cxrssl.transforms import ResizeCXR

SIZE = 3


class OfTheBatch(torch.nn.Module):
    """Says of an image what else is in its batch, as no network should: batches must be those of good images alone."""

    def __init__(self):
        super().__init__()
        self.encoder = Encoder("resnet18")

    def forward(self, image):
        return self.encoder(image) + image.mean() + len(image)


def embed(loader, images, out):
    """Run the evaluator of the bundles, and return how many batches it saw."""
    torch.manual_seed(0)
    writer = EmbeddingWriter(out, images.items, images.unreadable)
    evaluator = SupervisedEvaluator("cpu", loader, OfTheBatch(), decollate=False, val_handlers=[writer])
    batches = []
    evaluator.add_event_handler(Events.ITERATION_COMPLETED, lambda engine: batches.append(engine.state.batch))
    evaluator.run()
    return len(batches)


def decoded_first(items, out):
    images = open_images(items, 64, max_unreadable=1.0, progress=False)
    embed(DataLoader(ImageDataset(images, ResizeCXR(64)), SIZE), images, out)


def streamed_from(items, out, num_workers=2, cache_dir=None):
    images = open_images(items, 64, cache_dir, max_unreadable=1.0, progress=False, stream=True)
    loader = InferenceLoader(InferenceDataset(images, ResizeCXR(64), read_header=False), SIZE, num_workers)
    return embed(loader, images, out)


def files(out: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in out.iterdir()}


# Which of the twelve files, of which the second to fifth and the last are none: in between and last; one batch full of
# images and a file that is none behind it; first; images alone.
@pytest.mark.parametrize("chosen", [range(12), [0, 5, 6, 11], [1, 0, 5, 6, 7], [0, 5, 6, 7]])
@pytest.mark.parametrize("num_workers", [0, 2])
def test_the_same_to_the_bit(items, tmp_path, chosen, num_workers):
    chosen = [items[number] for number in chosen]
    decoded_first(chosen, tmp_path / "first")
    batches = streamed_from(chosen, tmp_path / "streamed", num_workers)
    assert set(files(tmp_path / "first")) == {"embeddings.npz", "embeddings.csv"}
    assert files(tmp_path / "streamed") == files(tmp_path / "first")
    # The progress that a person sees ends at 100 %.
    assert batches == -(-len(chosen) // SIZE)


def test_rows_and_log(items, tmp_path, caplog):
    with caplog.at_level(logging.INFO):
        streamed_from(items, tmp_path / "streamed")
    with open(tmp_path / "streamed" / "embeddings.csv", newline="") as table:
        rows = list(csv.DictReader(table))
    names = [item["image"] for item in items]
    assert [row["image"] for row in rows] == sorted(names, key=lambda name: ("broken" in name, names.index(name)))
    assert all(bool(row["problem"]) == ("broken" in row["image"]) == (not row["e0"]) for row in rows)
    assert sum(message.startswith("unreadable: ") for message in caplog.messages) == 5
    assert "7 embeddings of length 512, 5 unreadable files" in caplog.text
    streamed_from(items, tmp_path / "cached", cache_dir=tmp_path / "cache")
    assert files(tmp_path / "cached") == files(tmp_path / "streamed")


def test_each_image_is_read_once_and_its_header_not_again(items, tmp_path, monkeypatch):
    reads: Counter[str] = Counter()
    whole = streamed.read_film

    def counted(path, **options):
        reads[path] += 1
        return whole(path, **options)

    monkeypatch.setattr(streamed, "read_film", counted)
    monkeypatch.setattr("monai_cxrssl.data.stores.source_film.read_dicom_header", lambda path: pytest.fail(path))
    streamed_from(items, tmp_path, 0)
    assert reads == {item["image"]: 1 for item in items}


def test_nothing_readable_writes_nothing(items, tmp_path):
    with pytest.raises(DatalistError, match="All 4 images are unreadable; the first: .*broken0"):
        streamed_from(items[1:5], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_run_again_begins_anew(items, tmp_path):
    images = open_images(items, 64, stream=True)
    writer = EmbeddingWriter(tmp_path, images.items)
    loader = InferenceLoader(InferenceDataset(images, ResizeCXR(64)), SIZE, 0)
    evaluator = SupervisedEvaluator("cpu", loader, Encoder("resnet18"), decollate=False, val_handlers=[writer])
    evaluator.run()
    before = files(tmp_path)
    evaluator.run()
    assert files(tmp_path) == before
    assert len(writer.unreadable) == 5


def test_the_bundles_stream(repo):
    """No option is left that means nothing."""
    for path in sorted(repo.glob("bundles/*/configs/inference.json")):
        config = json.loads(path.read_text())
        assert "memory_limit_gb" not in config
        assert (config["images"]["stream"], config["num_workers"]) == (True, "auto")
        assert config["dataloader"]["_target_"] == "monai_cxrssl.data.InferenceLoader"
