# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""The COVID-QU-Ex layout on a miniature of its tree."""

from __future__ import annotations

from pathlib import Path

import pytest

from monai_cxrssl.data.sources.layouts.covid import covid_qu_ex
from monai_cxrssl.data.sources.registry import find_layout, index_folder
from monai_cxrssl.errors import DatalistError

LUNGS = "Lung Segmentation Data/Lung Segmentation Data"
INFECTIONS = "Infection Segmentation Data/Infection Segmentation Data"


def write(top, *films, masks=("lung masks",)):
    """Images ``Train/COVID-19/covid_1.png`` (perhaps with content after a colon), each with masks."""
    for film in films:
        path, _, content = film.partition(":")
        place, name = (top / path).parent, Path(path).name
        for kind in ("images", *masks):
            (place / kind).mkdir(parents=True, exist_ok=True)
            (place / kind / name).write_text(content if kind == "images" else "")
    return top


@pytest.fixture
def both(tmp_path):
    """Both parts: covid_1 is the same image in another split, covid_2 another image of the same name."""
    write(
        tmp_path / LUNGS,
        "Train/COVID-19/covid_1.png:A",
        "Val/COVID-19/covid_2.png:B",
        "Test/Normal/Normal (1).png:C",
        "Train/Non-COVID/non_COVID (1).png:D",
    )
    infected = ("Test/COVID-19/covid_1.png:A", "Val/COVID-19/covid_2.png:X")
    write(tmp_path / INFECTIONS, *infected, masks=("lung masks", "infection masks"))
    return tmp_path


def test_both_parts(both, caplog):
    assert find_layout(both) == "covid_qu_ex"
    datalist = index_folder(both)
    assert datalist.classes == ("No Finding", "COVID-19", "Other Pneumonia")
    first, second = sorted(datalist.items("training"), key=lambda item: item["label"])
    (third,), (fourth,) = datalist.items("validation"), datalist.items("test")
    assert first == {
        "image": str(both / LUNGS / "Train/COVID-19/images/covid_1.png"),
        "patient_id": "COVID-19/covid_1",
        "source": "COVID-QU-Ex",
        "label": 1,
        "lung_mask": str(both / LUNGS / "Train/COVID-19/lung masks/covid_1.png"),
        "infection_mask": str(both / INFECTIONS / "Test/COVID-19/infection masks/covid_1.png"),
    }
    assert [item["label"] for item in (second, third, fourth)] == [2, 1, 0]
    assert not any("infection_mask" in item for item in (second, third, fourth))
    assert "1 images differ from those of the same name" in caplog.text


@pytest.mark.parametrize("given", [INFECTIONS, "Infection Segmentation Data"])
def test_infection_part_alone(both, given):
    folder = both / given
    if given != INFECTIONS:
        assert find_layout(folder) == "covid_qu_ex"
    datalist = index_folder(folder)
    (val,), (test,) = datalist.items("validation"), datalist.items("test")
    assert Path(val["infection_mask"]) == both / INFECTIONS / "Val/COVID-19/infection masks/covid_2.png"
    assert Path(test["image"]).name == "covid_1.png"


def test_faults(tmp_path):
    with pytest.raises(DatalistError, match="holds no images such as Train/COVID-19/images"):
        covid_qu_ex.read(tmp_path)
    write(tmp_path, "Train/COVID-19/covid_1.png", "Train/COVID-19/covid_2.png")
    (tmp_path / "Train/COVID-19/lung masks/covid_2.png").unlink()
    with pytest.raises(DatalistError, match=r"has 1 images without a lung mask \(looked for .*masks/covid_2.png"):
        covid_qu_ex.read(tmp_path)
