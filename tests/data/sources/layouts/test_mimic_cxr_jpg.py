# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""The MIMIC-CXR layout: both forms, both labellers, packed tables, and broken ones."""

from __future__ import annotations

import pytest

from monai_cxrssl.data.datalists.datalist import Datalist
from monai_cxrssl.data.sources.layouts import mimic_cxr_jpg
from monai_cxrssl.data.sources.registry import find_layout, index_folder
from monai_cxrssl.errors import ConfigurationError, DatalistError

from .tables import touch, write_csv

SPLIT = ("dicom_id", "study_id", "subject_id", "split")
METADATA = ("dicom_id", "subject_id", "study_id", "PerformedProcedureStepDescription", "ViewPosition", "Rows")
LABELS = ("subject_id", "study_id", *sorted(mimic_cxr_jpg.CLASSES))
FILMS = (
    ("02aa804e-bde0afdd", "50414267", "10000032", "train"),
    ("174413ec-4ec4c1f7", "50414267", "10000032", "train"),
    ("2a2277a9-b0ded155", "53189527", "10000032", "validate"),
    ("68b5c4b1-227d0485", "53911762", "19999987", "test"),
)
STUDIES = (
    {"subject_id": "10000032", "study_id": "50414267", "Edema": "-1.0", "Pneumonia": "1.0"},
    {"subject_id": "10000032", "study_id": "53189527", "Edema": "0.0", "Lung Lesion": "-1.0"},
)


def image(film, extension="jpg"):
    dicom, study, subject, _ = film
    return f"files/p{subject[:2]}/p{subject}/s{study}/{dicom}.{extension}"


def write(folder, films=FILMS, end=".csv.gz", extension="jpg", studies=STUDIES, columns=SPLIT):
    write_csv(folder / f"mimic-cxr-2.0.0-split{end}", columns, [f[: len(columns)] for f in films])
    views = dict(zip([film[0] for film in films], ("PA", "LATERAL", "AP", ""), strict=False))
    metadata = [{"dicom_id": name, "ViewPosition": view} for name, view in views.items()]
    write_csv(folder / f"mimic-cxr-2.0.0-metadata{end}", METADATA, metadata)
    write_csv(folder / f"mimic-cxr-2.0.0-chexpert{end}", LABELS, studies)
    write_csv(folder / f"mimic-cxr-2.0.0-negbio{end}", LABELS, [studies[0] | {"Edema": "0.0"}])
    touch(folder, *(image(film, extension) for film in films))
    return folder


@pytest.mark.parametrize("end", [".csv", ".csv.gz"])
@pytest.mark.parametrize("extension", ["jpg", "dcm"])
def test_fields(tmp_path, end, extension):
    write(tmp_path, end=end, extension=extension)
    assert find_layout(tmp_path) == "mimic_cxr_jpg"
    datalist = index_folder(tmp_path)
    assert [i["image"] for i in datalist.splits["training"]] == [image(f, extension) for f in FILMS[:2]]
    first, second = datalist.items("training")
    assert (first["patient_id"], first["study_id"]) == ("p10000032", "s50414267")
    assert (first["view_position"], second["view_position"]) == ("PA", "LL")
    positive = {mimic_cxr_jpg.CLASSES[n]: v for n, v in enumerate(first["label"]) if v is not None}
    assert positive == {"Pneumonia": 1.0}
    (valid,), (test,) = datalist.items("validation"), datalist.items("test")
    assert valid["label"][mimic_cxr_jpg.CLASSES.index("Edema")] == 0.0
    assert "label" not in test
    assert "view_position" not in test
    Datalist.from_dict(datalist.to_dict(), tmp_path)


def test_policy_agrees_within_a_study(tmp_path):
    write(tmp_path)
    edema = mimic_cxr_jpg.CLASSES.index("Edema")
    first, second = mimic_cxr_jpg.read(tmp_path, policy="lsr", blanks="zero").items()
    assert 0.55 <= first["label"][edema] < 0.85
    assert first["label"] == second["label"]
    assert first["label"] is not second["label"]
    assert mimic_cxr_jpg.read(tmp_path, labeller="negbio").items()[0]["label"][edema] == 0.0
    with pytest.raises(ConfigurationError, match="labeller is 'chexbert'; expected one of chexpert, negbio"):
        mimic_cxr_jpg.read(tmp_path, labeller="chexbert")


def test_record_list_alone(tmp_path):
    columns = ("subject_id", "study_id", "dicom_id", "path")
    write_csv(tmp_path / "cxr-record-list.csv.gz", columns, [(f[2], f[1], f[0], image(f, "dcm")) for f in FILMS])
    touch(tmp_path, *(image(film, "dcm") for film in FILMS))
    datalist = index_folder(tmp_path)
    assert [i["image"] for i in datalist.splits["training"]] == [image(f, "dcm") for f in FILMS]
    assert not datalist.has_labels


def test_record_list_of_absent_films_is_of_dicom(tmp_path):
    columns = ("subject_id", "study_id", "dicom_id", "path")
    write_csv(tmp_path / "cxr-record-list.csv.gz", columns, [(f[2], f[1], f[0], image(f, "dcm")) for f in FILMS])
    items = mimic_cxr_jpg.read(tmp_path, check_files=False).splits["training"]
    assert [item["image"] for item in items] == [image(f, "dcm") for f in FILMS]


def test_views_of_the_dicom_tree(tmp_path, dicom):
    columns = ("subject_id", "study_id", "dicom_id", "path")
    write_csv(tmp_path / "cxr-record-list.csv.gz", columns, [(f[2], f[1], f[0], image(f, "dcm")) for f in FILMS])
    for number, film in enumerate(FILMS):
        (tmp_path / image(film, "dcm")).parent.mkdir(parents=True, exist_ok=True)
        made = dicom.make_dicom(dicom.stored_film(), PatientID="x", ViewPosition=("LL", "AP")[number % 2])
        dicom.save(made, tmp_path / image(film, "dcm"))
    items = index_folder(tmp_path).items()
    assert [item["view_position"] for item in items] == [("LL", "AP")[n % 2] for n in range(len(FILMS))]
    assert [item["patient_id"] for item in items] == [f"p{film[2]}" for film in FILMS]
    assert "view_position" not in mimic_cxr_jpg.read(tmp_path, headers=False).items()[0]


@pytest.mark.parametrize("missing", ["study_id", "subject_id", "split"])
def test_missing_column(tmp_path, missing):
    write(tmp_path, columns=[c if c != missing else "other" for c in SPLIT])
    with pytest.raises(DatalistError, match=f"split.csv.gz lacks the column {missing} "):
        index_folder(tmp_path)


@pytest.mark.parametrize(
    ("film", "message"),
    [
        (FILMS[0], "row 6 .*the image 02aa804e-bde0afdd was listed before, in row 2"),
        (("a", "1", "", "train"), "row 6 .*subject_id is empty"),
        (("a", "s1", "10000032", "train"), "row 6 .*study_id is no number"),
        (("a", "1", "10000032", "dev"), "row 6 .*split is unknown; expected one of train, validate, test"),
    ],
)
def test_broken_rows(tmp_path, film, message):
    with pytest.raises(DatalistError, match=message):
        index_folder(write(tmp_path, [*FILMS, film]))


def test_broken_labels(tmp_path):
    write(tmp_path, studies=[*STUDIES, STUDIES[0]])
    with pytest.raises(DatalistError, match="chexpert.csv.gz, row 4 .*the study 50414267 was listed before, in row 2"):
        index_folder(tmp_path)


def test_absent(tmp_path):
    write(tmp_path)
    (tmp_path / image(FILMS[2])).unlink()
    with pytest.raises(DatalistError, match="split.csv.gz, row 4 .*the listed file does not exist"):
        index_folder(tmp_path)
    assert not mimic_cxr_jpg.read(tmp_path, allow_absent=True).items("validation")
    assert len(mimic_cxr_jpg.read(tmp_path, check_files=False).items("validation")) == 1
