# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""What every dictionary transform of the package promises to a MONAI pipeline; a new one fails until it has a case."""

from __future__ import annotations

import copy
import inspect
import json
import pickle

import cv2
import numpy as np
import pytest
import torch
from monai.bundle import ConfigParser
from monai.data import DataLoader, MetaTensor
from monai.transforms import Compose, Invertd, InvertibleTransform, Randomizable
from torch.utils.data import Dataset

from monai_cxrssl import transforms

AFFINE = np.array([[0.0, -0.2, 0, 7], [-0.3, 0, 0, 9], [0, 0, 1, 0], [0, 0, 0, 1]])

HEAD = {"_target_": "monai_cxrssl.networks.PredictionHead", "classes": ["a", "b"]}
#: Name of the class, options (plain JSON), and the items that it takes; see :func:`make_item`.
CASES = [
    ("BlankRegiond", {"keys": "image", "region": "lungs"}, "film"),
    ("CropToLungsd", {"keys": "image", "margin": 0.1}, "film"),
    ("GroupMaskd", {"keys": "image", "patch_size": 4}, "film"),
    ("InpaintHolesd", {"keys": "image"}, "film"),
    ("LabelReplyd", {"head": HEAD}, "answer"),
    ("LoadCXRd", {"keys": "image"}, "path"),
    ("LoadLungMaskd", {"keys": "lung_mask", "image_key": None}, "path"),
    ("LoadSmallCXRd", {"keys": "image", "side": 32}, "path"),
    ("MultiViewd", {"keys": "image", "mask_keys": "lung_mask", "size": 24}, "film"),
    (
        "MultiViewd",
        {"keys": "image", "mask_keys": "lung_mask", "size": 24, "num_views": 1, "view_axis": False},
        "film",
    ),
    ("ResizeCXRd", {"keys": "image", "mask_keys": "lung_mask", "size": 24}, "film"),
    ("RestoreMaskd", {"resize": {"_target_": "monai_cxrssl.transforms.ResizeCXR", "size": 24}}, "answer"),
    ("SplitPredictiond", {"head": HEAD}, "logits"),
]
IDS = [f"{name}-{number}" for number, (name, _, _) in enumerate(CASES)]


def dictionary_transforms():
    return {name for name in transforms.__all__ if name.endswith("d") and inspect.isclass(getattr(transforms, name))}


def make(name, options):
    config = json.loads(json.dumps({"made": {"_target_": f"monai_cxrssl.transforms.{name}", **options}}))
    return ConfigParser(config).get_parsed_content("made")


def tensor(values, name):
    meta = {"affine": torch.from_numpy(AFFINE), "spacing": np.array([0.3, 0.2]), "filename_or_obj": name}
    return MetaTensor(values, meta=meta)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("films")
    film = cv2.GaussianBlur(np.random.default_rng(0).random((48, 40)), (0, 0), 3)
    cv2.imwrite(str(folder / "film.png"), cv2.normalize(film, None, 0, 255, cv2.NORM_MINMAX).astype(np.uint8))
    mask = np.zeros((48, 40), np.uint8)
    mask[10:38, 6:17] = mask[10:38, 23:34] = 255
    cv2.imwrite(str(folder / "mask.png"), mask)
    return folder


def make_item(kind, folder):
    paths = {"image": str(folder / "film.png"), "lung_mask": str(folder / "mask.png")}
    item = {"patient_id": "p", "label": 1, "sex": None}
    if kind == "path":
        return item | paths
    if kind == "logits":
        return item | {"pred": {"label": torch.tensor([0.5, -1.0]), "mask": torch.zeros(1, 24, 24)}}
    if kind == "answer":
        film = {"shape": (48, 40), "decoded_shape": (48, 40), "affine": AFFINE.tolist()}
        mask = torch.zeros(1, 24, 24, dtype=torch.float32)
        return item | {"image_film": film, "mask": mask, "scores": torch.tensor([0.2, 0.8], dtype=torch.float64)}
    pixels, lungs = (cv2.imread(path, cv2.IMREAD_GRAYSCALE)[None] for path in paths.values())
    image = tensor(torch.from_numpy(pixels / 255).float(), paths["image"])
    return item | {"image": image, "lung_mask": tensor(torch.from_numpy(lungs // 255), paths["lung_mask"])}


def same(one, other):
    """Equality through dictionaries, sequences and the metadata of tensors."""
    if type(one) is not type(other):
        return False
    if isinstance(one, MetaTensor):
        parts = [[x.as_tensor(), dict(x.meta), x.applied_operations] for x in (one, other)]
        return same(*parts)
    if isinstance(one, dict):
        # "id" in a record of MONAI is the address of the transform, which a copy does not share.
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one if key != "id")
    if isinstance(one, (list, tuple)):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, (torch.Tensor, np.ndarray)):
        first, second = np.asarray(one), np.asarray(other)
        return first.dtype == second.dtype and np.array_equal(first, second, equal_nan=first.dtype.kind == "f")
    return one == other or (one != one and other != other)


@pytest.fixture(params=CASES, ids=IDS)
def case(request, folder):
    name, options, kind = request.param
    return make(name, options), make_item(kind, folder)


def test_every_dictionary_transform_has_a_case():
    assert {name for name, _, _ in CASES} == dictionary_transforms()


def test_gives_a_new_dictionary_and_leaves_the_old_one(case):
    transform, item = case
    before = copy.deepcopy(item)
    result = transform(item)
    assert type(result) is dict
    assert result is not item
    assert same(item, before)
    assert {key: result[key] for key in ("patient_id", "sex")} == {"patient_id": "p", "sex": None}


def test_copies_by_pickle_give_the_same(case):
    transform, item = case
    chain = Compose([transform]).set_random_state(seed=5)
    copied = pickle.loads(pickle.dumps(chain))
    first = chain(item)
    assert same(first, copied(item))
    # Once more after a call: a transform must keep nothing that pickle refuses.
    assert same(chain(item), pickle.loads(pickle.dumps(copied))(item))


def test_set_random_state_decides_on_all_that_is_random(case):
    transform, item = case
    first, again, other = (Compose([transform]).set_random_state(seed=seed)(item) for seed in (3, 3, 4))
    assert same(first, again)
    assert same(first, other) != isinstance(transform, Randomizable)
    if isinstance(transform, Randomizable):
        assert transform.set_random_state(seed=11) is transform
        assert same(transform(item), transform.set_random_state(state=np.random.RandomState(11))(item))
        assert not same(transform(item), transform(item))
    else:
        assert same(transform(item), transform(item))


def test_keeps_the_metadata_of_every_film(case):
    transform, item = case
    result = transform(item)
    for key in item.keys() & result.keys():
        if isinstance(item[key], str) and not isinstance(result[key], str):
            assert isinstance(result[key], MetaTensor), key
            assert result[key].meta["filename_or_obj"] == item[key]
        elif isinstance(item[key], MetaTensor):
            assert isinstance(result[key], MetaTensor), key
            views = list(result[key]) if result[key].is_batch else [result[key]]
            for view in views:
                assert view.meta["filename_or_obj"] == item[key].meta["filename_or_obj"]
                assert view.affine.shape == (4, 4)
                same_grid = view.shape[-2:] == item[key].shape[-2:]
                assert same_grid == torch.equal(view.affine, item[key].affine), "another grid has another affine"
                # The affine and the spacing tell one pixel size.
                sides = view.affine[:3, :2].norm(dim=0)
                np.testing.assert_allclose(view.meta["spacing"], sides, rtol=1e-6)


def test_what_moves_pixels_comes_back_by_invertd(case):
    transform, item = case
    result = transform(item)
    moved = [
        key
        for key in item.keys() & result.keys()
        if isinstance(item[key], MetaTensor) and item[key].shape[-2:] != result[key].shape[-2:]
    ]
    for key in moved:
        assert isinstance(transform, InvertibleTransform)
        invert = Invertd(key, Compose([transform]), nearest_interp=False)
        if result[key].is_batch:  # several views: no inverse, which the docstring explains and the error says
            with pytest.raises(RuntimeError) as caught:
                invert(result)
            assert "no inverse" in str(caught.value.__cause__ or caught.value)
            assert "no inverse" in inspect.getdoc(type(transform))
            continue
        back = invert(result)[key]
        assert back.shape == item[key].shape
        assert back.dtype == item[key].dtype
        torch.testing.assert_close(back.affine, item[key].affine)
        np.testing.assert_allclose(back.meta["spacing"], item[key].meta["spacing"])
        assert back.applied_operations == []


class Repeated(Dataset):
    """One item many times."""

    def __init__(self, item, transform):
        self.item, self.transform = item, transform

    def __len__(self):
        return 6

    def __getitem__(self, index):
        return self.transform(self.item)["image"].as_tensor()


@pytest.mark.parametrize(
    "name", [name for name in sorted(dictionary_transforms()) if hasattr(getattr(transforms, name), "set_random_state")]
)
def test_workers_of_monai_draw_each_its_own(name, folder):
    options, kind = next((options, kind) for known, options, kind in CASES if known == name)
    chain = Compose([make(name, options)]).set_random_state(seed=0)
    drawn = [row.numpy().tobytes() for row in DataLoader(Repeated(make_item(kind, folder), chain), num_workers=2)]
    assert len(set(drawn)) == len(drawn) == 6


@pytest.mark.parametrize("kind", ["array", "tensor"])
@pytest.mark.parametrize("name", ["CropToLungsd", "GroupMaskd", "InpaintHolesd", "MultiViewd", "ResizeCXRd"])
def test_plain_arrays_give_plain_tensors(name, kind, folder):
    options = next(options for known, options, _ in CASES if known == name)
    item = make_item("film", folder)
    item |= {key: item[key].numpy() if kind == "array" else item[key].as_tensor() for key in ("image", "lung_mask")}
    result = make(name, options)(item)
    assert type(result["image"]) is torch.Tensor
