# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""From the metadata of a pack alone, and numpy, another runtime makes the same input and reads the same output."""

from __future__ import annotations

import json
import runpy

import cv2
import jsonschema
import numpy as np
import pytest
import torch

from monai_cxrssl.apps.pack.metadata import packed_metadata
from monai_cxrssl.data.stores.images import open_images
from monai_cxrssl.data.stores.small_film import decoded_side
from monai_cxrssl.transforms import ResizeCXR

SETTINGS = {
    "encoder_name": "resnet18", "image_size": 64, "classes": ["a", "b", "c"], "task": "multi_class", "decoder": "Unet",
    "mask": "lung", "mask_channels": 1, "temperature": 1.7,
}  # fmt: skip


@pytest.fixture
def about(repo):
    bundle = json.loads((repo / "bundles" / "multitask" / "configs" / "metadata.json").read_text())
    packed = packed_metadata(bundle, SETTINGS, {"label": (1, 3), "mask": (1, 1, 64, 64)}, None, None)
    return json.loads(json.dumps(packed))  # what is read back from the file


def test_metadata_with_the_steps_are_those_of_the_zoo(repo, about):
    jsonschema.validate(
        about, json.loads((repo / "monai_cxrssl" / "apps" / "pack" / "meta_schema_20240725.json").read_text())
    )


@pytest.mark.parametrize("shape", [(300, 220), (97, 240), (40, 36), (220, 220)])
def test_numpy_makes_the_input_by_the_words_of_the_metadata(repo, about, tmp_path, shape):
    pytest.importorskip("onnxruntime")  # of the example whose functions are numpy's alone
    prepare = runpy.run_path(str(repo / "docs" / "examples" / "onnx_inference.py"))["prepare"]
    film = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    cv2.imwrite(str(tmp_path / "film.png"), film)
    store = open_images([{"image": str(tmp_path / "film.png"), "patient_id": "1"}], decoded_side(64), progress=False)
    expected = ResizeCXR(64)(store.image(0)[None]).numpy()
    image = prepare(film, about["network_data_format"]["inputs"]["image"]["preprocessing"])
    assert list(image.shape[2:]) == about["network_data_format"]["inputs"]["image"]["spatial_shape"]
    # An area average halfway between two grey levels goes by the last bit of its sum: one level, in few pixels.
    difference = np.abs(image[0] - expected)
    assert difference.max() < 1 / 255
    assert (difference > 1e-5).mean() < 0.005


@pytest.mark.parametrize("shape", [(300, 220), (97, 240)])
def test_numpy_brings_a_mask_back_by_the_words_of_the_metadata(repo, about, shape):
    pytest.importorskip("onnxruntime")
    resize = runpy.run_path(str(repo / "docs" / "examples" / "onnx_inference.py"))["resize"]
    logits = np.random.default_rng(0).normal(size=(64, 64))
    steps = about["network_data_format"]["outputs"]["mask"]["postprocessing"]
    assert [step["step"] for step in steps] == ["sigmoid", "crop", "resize", "threshold"]
    plane = 1 / (1 + np.exp(-logits))
    rows, columns = (round(side * 64 / max(shape)) for side in shape)
    top, left = (64 - rows) // 2, (64 - columns) // 2
    found = resize(plane[top : top + rows, left : left + columns], *shape)
    expected = ResizeCXR(64).invert(torch.from_numpy(plane).float()[None], shape)[0].numpy()
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert (found > steps[-1]["above"]).sum() == (expected > 0.5).sum()


@pytest.mark.parametrize("task", ["multi_class", "multi_label"])
def test_steps_after_the_network_give_its_probabilities(repo, task):
    bundle = json.loads((repo / "bundles" / "classification" / "configs" / "metadata.json").read_text())
    settings = {**SETTINGS, "task": task, "decoder": None}
    packed = packed_metadata(bundle, settings, {"label": (1, 3)}, None, None)
    logits = np.random.default_rng(0).normal(size=(5, 3))
    scores = logits
    for step in packed["network_data_format"]["outputs"]["pred"]["postprocessing"]:
        if step["step"] == "divide":
            scores = scores / step["by"]
        elif step["step"] == "softmax":
            scores = np.exp(scores) / np.exp(scores).sum(1, keepdims=True)
        else:
            assert step["step"] == "sigmoid"
            scores = 1 / (1 + np.exp(-scores))
    tempered = torch.from_numpy(logits) / 1.7
    expected = tempered.softmax(1) if task == "multi_class" else tempered.sigmoid()
    np.testing.assert_allclose(scores, expected.numpy(), atol=1e-12)


def test_an_embedding_is_final(repo):
    bundle = json.loads((repo / "bundles" / "simclr" / "configs" / "metadata.json").read_text())
    settings = {"encoder_name": "resnet18", "image_size": 64}
    packed = packed_metadata(bundle, settings, {"embedding": (1, 512)}, None, None)
    assert packed["network_data_format"]["outputs"]["pred"]["postprocessing"] == []
