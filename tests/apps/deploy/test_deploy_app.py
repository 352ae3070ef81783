# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""App of MONAI Deploy beside a pack: its operators, called with stand-ins for the SDK, against inference on the file."""

from __future__ import annotations

import importlib.util
import sys
import types

import numpy as np
import pydicom
import pytest
import torch

from monai_cxrssl.apps.cli.main import main
from monai_cxrssl.apps.deploy.film_predictor import FilmPredictor
from monai_cxrssl.errors import ConfigurationError, CXRReadError
from monai_cxrssl.handlers.model_files import store_description
from monai_cxrssl.networks import MultiTaskNet
from monai_cxrssl.transforms import LoadSmallCXR, ResizeCXR
from tests.conftest import REPO
from tests.data import conftest as dicom

pytest.importorskip("highdicom")

NAME = "chest_xray_multitask_segmentation"
CLASSES = ["no finding", "effusion"]


@pytest.fixture(scope="module")
def dist(tmp_path_factory):
    """A folder with a pack and its app."""
    top = tmp_path_factory.mktemp("dist")
    torch.manual_seed(0)
    network = MultiTaskNet("mobilenet_v2", num_classes=2, decoder="FPN")
    (top / "m").mkdir()
    torch.save(network.state_dict(), top / "m" / "model.pt")
    settings = {"encoder_name": "mobilenet_v2", "image_size": 64, "classes": CLASSES, "task": "multi_label"}
    settings |= {"decoder": "FPN", "mask": "lung", "mask_channels": 1, "thresholds": {"effusion": 0.5}}
    store_description(top / "m" / "model.pt", settings)
    options = ["--model_path", str(top / "m" / "model.pt"), "--version", "1.2.3", "--changes", "first"]
    assert main(["pack", str(REPO / "bundles/multitask"), "--name", NAME, "--out", str(top), "--deploy", *options]) == 0
    return top


@pytest.fixture
def film(tmp_path):
    pixels = (np.linspace(0, 1, 160)[:, None] * np.linspace(500, 3000, 120)[None]).astype(np.uint16)
    ds = dicom.make_dicom(pixels, photometric="MONOCHROME1", SeriesInstanceUID="1.2.4", ViewPosition="LL")
    dicom.save(ds, tmp_path / "film.dcm")
    return pydicom.dcmread(tmp_path / "film.dcm")


@pytest.fixture
def app(dist, monkeypatch):
    """The app's module, the SDK being replaced by classes that keep what they are told."""

    class Piece:
        def __init__(self, *args, **kwargs):
            self.told = kwargs

    class Application:
        argv = ()

        def __init__(self):
            self.flows = []

        @staticmethod
        def init_app_context(argv):
            return types.SimpleNamespace(model_path=dist, input_path="in", output_path="out")

        def add_flow(self, first, second, ports):
            self.flows.append((first, second, ports))

    places = {
        "monai.deploy": {},
        "monai.deploy.conditions": {"CountCondition": Piece},
        "monai.deploy.core": {"Application": Application, "Operator": Piece, "OperatorSpec": Piece},
        "monai.deploy.operators": {},
        "monai.deploy.operators.dicom_data_loader_operator": {"DICOMDataLoaderOperator": Piece},
        "monai.deploy.operators.dicom_series_selector_operator": {"DICOMSeriesSelectorOperator": Piece},
    }
    for place, names in places.items():
        module = types.ModuleType(place)
        vars(module).update(names)
        monkeypatch.setitem(sys.modules, place, module)
    spec = importlib.util.spec_from_file_location("deploy_app", dist / f"{NAME}_deploy" / "app.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Ports:
    """Inputs and outputs of an operator."""

    def __init__(self, **values):
        self.values = values

    def receive(self, name):
        return self.values[name]

    def emit(self, value, name):
        self.values[name] = value


def study(*films):
    instances = [types.SimpleNamespace(get_native_sop_instance=lambda film=film: film) for film in films]
    series = types.SimpleNamespace(get_sop_instances=lambda: instances)
    return types.SimpleNamespace(selected_series=[types.SimpleNamespace(series=series)])


def test_the_app_is_whole(dist):
    folder = dist / f"{NAME}_deploy"
    names = ["README.md", "__main__.py", "app.py", "app.yaml", "requirements.txt"]
    assert sorted(path.name for path in folder.iterdir()) == names
    assert f"-m {NAME}" in (folder / "README.md").read_text()
    assert "version: 1.2.3" in (folder / "app.yaml").read_text()
    assert "monai-deploy-app-sdk" in (folder / "requirements.txt").read_text()
    # The pack itself holds no code.
    assert not list((dist / NAME).rglob("*.py"))


def test_its_operators_give_what_inference_on_the_file_gives(app, dist, film, tmp_path):
    composed = app.ChestXrayApp()
    composed.compose()
    (loader, selector, _), (_, bundle, ports), (_, writer, results) = composed.flows
    assert loader.told["name"] == "loader"
    assert selector.told["all_matched"] is True
    assert (ports, results) == ({("study_selected_series_list",) * 2}, {("film_results",) * 2})
    empty = pydicom.Dataset()
    empty.SOPInstanceUID = "1.2.9"
    out = Ports()
    bundle.compute(Ports(study_selected_series_list=[study(film, empty)]), out, None)
    [(same, result)] = out.values["film_results"]
    assert same is film
    # Reference: the file, read and resized by hand, through the network alone.
    predictor = FilmPredictor(dist / NAME, device="cpu")
    small = LoadSmallCXR(64 * 12 // 7)(tmp_path / "film.dcm")
    with torch.no_grad():
        logits = predictor.network(ResizeCXR(64)(small)[None].as_tensor())["label"][0].double()
    np.testing.assert_allclose(list(result.scores.values()), logits.sigmoid(), rtol=1e-5)
    assert result.mask.shape == (160, 120)
    assert result.warnings.startswith("lateral view")
    writer.output_folder = tmp_path / "out"
    writer.compute(out, None, None)
    written = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert written == [f"{kind}_{film.SOPInstanceUID}.dcm" for kind in ("gsps", "sc", "seg", "sr")]
    report = pydicom.dcmread(tmp_path / "out" / written[3])
    assert (report.StudyInstanceUID, report.PatientID) == (film.StudyInstanceUID, film.PatientID)
    assert "1.2.3" in report.to_json()
    mask = pydicom.dcmread(tmp_path / "out" / written[2]).pixel_array
    np.testing.assert_array_equal(mask, result.mask)


def test_mistakes(dist, tmp_path):
    with pytest.raises(ConfigurationError, match="holds no packed bundle"):
        FilmPredictor(tmp_path)
    with pytest.raises(ConfigurationError, match="dicom_results names 'pdf'"):
        FilmPredictor(dist, "pdf")
    empty = pydicom.Dataset()
    with pytest.raises(CXRReadError):
        FilmPredictor(dist / NAME, device="cpu").predict_all([empty])
