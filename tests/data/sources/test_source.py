# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import logging

import numpy as np
import pytest
from PIL import Image

from monai_cxrssl.data import open_dataset
from monai_cxrssl.errors import DatalistError


def test_given_nothing_it_draws_the_phantom_once_and_says_so(tmp_path, caplog):
    with caplog.at_level(logging.INFO):
        source = open_dataset(phantom_dir=tmp_path / "phantom", phantom_patients=4, phantom_size=64)
    assert "running on a phantom of 4 patients, not on real X-rays" in caplog.text
    assert len(source.patients) == 4
    first = source.all_items()[0]["image"]
    written = (tmp_path / "phantom" / "datalist.json").stat().st_mtime_ns
    again = open_dataset(phantom_dir=tmp_path / "phantom", phantom_patients=4, phantom_size=64)
    assert again.all_items()[0]["image"] == first
    assert (tmp_path / "phantom" / "datalist.json").stat().st_mtime_ns == written


def test_given_a_folder_it_reads_that(tmp_path):
    (tmp_path / "films").mkdir()
    Image.fromarray(np.zeros((40, 40), np.uint8)).save(tmp_path / "films" / "a.png")
    source = open_dataset(tmp_path / "films", phantom_dir=tmp_path / "phantom")
    assert len(source.all_items()) == 1
    assert not (tmp_path / "phantom").exists()


@pytest.mark.parametrize("given", [{"dataset_dir": ""}, {"datalist": ""}, {"dataset_dir": []}])
def test_an_empty_option_is_a_mistake_and_no_wish_for_the_phantom(given, tmp_path):
    with pytest.raises(DatalistError):
        open_dataset(**given, phantom_dir=tmp_path / "phantom")
    assert not (tmp_path / "phantom").exists()
