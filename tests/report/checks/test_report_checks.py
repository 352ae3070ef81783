# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""The checks of the report on phantoms, from an evaluator's run to the files, against plain computations."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from monai.bundle import ConfigParser
from PIL import Image
from torch.utils.data import DataLoader

from monai_cxrssl.data import DecodedImages, FineTuningImages, load_predictions, open_dataset
from monai_cxrssl.data.reading.spacing import film_spacing
from monai_cxrssl.engines import MultiTaskPredictor
from monai_cxrssl.errors import ConfigurationError
from monai_cxrssl.handlers import TestMetrics, test_metrics
from monai_cxrssl.metrics.surface_distance import segmentation_figures
from monai_cxrssl.networks import MultiTaskNet, PredictionHead
from monai_cxrssl.probing import predict_source, saliency_maps
from monai_cxrssl.report.checks import ReportChecks, report_checks
from monai_cxrssl.report.checks.network_outputs import NetworkOutputs
from monai_cxrssl.report.checks.source_check import PooledFeatures
from monai_cxrssl.transforms import BlankRegion, ResizeCXR

CLASSES = ["negative", "typical", "indeterminate", "atypical"]
SIZE = 64
REGIONS = {"lungs", "outside_lungs", "corners", "border"}


@pytest.fixture(scope="module")
def phantoms(tmp_path_factory) -> list[dict]:
    """Items of 14 patients, two images each."""
    source = open_dataset(
        phantom_dir=str(tmp_path_factory.mktemp("phantoms") / "set"), phantom_patients=14, phantom_size=72
    )
    return [item for split in ("training", "validation", "test") for item in source.items(split)]


@pytest.fixture(scope="module")
def both() -> MultiTaskNet:
    return network_of(4, "Unet")


@pytest.fixture(scope="module")
def classifier() -> MultiTaskNet:
    return network_of(4, None)


def network_of(classes: int, decoder: str | None) -> MultiTaskNet:
    torch.manual_seed(1)
    network = MultiTaskNet("tu-mobilenetv3_small_050", classes, decoder=decoder)
    network.train()
    with torch.no_grad():
        for _ in range(3):  # running statistics of batch normalisation, without which deep features vanish
            network(torch.rand(8, 1, SIZE, SIZE))
    return network.eval()


def data_of(items, mask=None, classes=CLASSES, task="multi_class") -> FineTuningImages:
    images = DecodedImages(items, side=72, max_unreadable=1.0, progress=False)
    return FineTuningImages(images, ResizeCXR(SIZE), task, classes, mask, progress=False)


def check(folder, network, dataset, classes=CLASSES, task="multi_class", **options):
    items = dataset.images.items
    unreadable = dataset.images.unreadable
    assessment = TestMetrics(folder, items, classes, task, resamples=20, unreadable=unreadable, table=None)
    checks = ReportChecks(network, dataset, folder, classes, task, amp=False, progress=False, **options)
    evaluator = MultiTaskPredictor(
        "cpu", DataLoader(dataset, 8), network, task, classes, amp=False, val_handlers=[assessment, checks]
    )
    evaluator.run()
    summary = json.loads((folder / "checks.json").read_text())
    return load_predictions(folder / "predictions.csv"), summary, evaluator


def without(items, *fields) -> list[dict]:
    return [{name: value for name, value in item.items() if name not in fields} for item in items]


def blanked_files(folder: Path) -> set[str]:
    return {path.stem for path in (folder / "blanked").glob("*.csv")}


def test_classification_and_segmentation(tmp_path, phantoms, both):
    dataset, validation = data_of(phantoms[:18], "lung"), data_of(phantoms[18:], "lung")
    found, summary, evaluator = check(tmp_path, both, dataset, validation_dataset=validation)
    splits = np.array([item["split"] for item in found.items])
    assert splits.tolist() == ["test"] * 18 + ["validation"] * (len(phantoms) - 18)
    np.testing.assert_allclose(found.scores[:18], evaluator.scores, rtol=1e-6)
    assert found.labels.tolist() == [item["label"] for item in phantoms]
    with torch.inference_mode():
        logits = both(torch.stack([validation[n]["image"] for n in range(len(validation))]))["label"]
    np.testing.assert_allclose(found.scores[18:], logits.softmax(1), rtol=1e-3)
    assert np.isfinite(found.measures["dice"]).all()
    assert np.isnan(found.measures["pfs"][18:]).all()
    assert {"iou", "area_ratio", "hd95_mm", "pfs", "lung_area", "pointing", "saliency_iou"} <= set(found.measures)
    assert "hd95_pixel" not in found.measures
    assert blanked_files(tmp_path) == REGIONS
    assert {path.name for path in (tmp_path / "galleries").iterdir()} == {"attention.png", "segmentation.png"}
    for path in (tmp_path / "galleries").iterdir():
        assert min(Image.open(path).size) > 200
    assert summary["lung_mask_from"] == "mask"
    assert summary["lung_masks"] == {"mask": 18, "model": 0, "none": 0}
    assert summary["saliency_method"] == "HiResCAM on the third feature map from the end"
    assert (summary["images"], summary["images_checked"]) == (18, 18)
    assert summary["blanked"] == dict.fromkeys(("lungs", "outside_lungs", "corners", "border"), 18)
    assert summary["not_assessable"] == []
    assert "one source" in json.loads((tmp_path / "source_prediction.json").read_text())["text"]

    # Plain computations of one image.
    sample, row = dataset[5], 5
    image, mask = sample["image"][None], sample["mask"][0].numpy() > 0
    predicted = int(found.scores[row].argmax())
    coarse = saliency_maps(both, image, predicted, "grad_cam", -1)[0, 0].double().numpy()
    assert found.measures["pfs_grad_cam"][row] == pytest.approx(coarse[mask].sum() / coarse.sum(), rel=1e-4)
    heat = saliency_maps(both, image, predicted, "hires_cam", -3)[0, 0].double().numpy()
    assert found.measures["pfs"][row] == pytest.approx(heat[mask].sum() / heat.sum(), rel=1e-4)
    assert found.measures["lung_area"][row] == pytest.approx(mask.mean())
    assert found.measures["pointing"][row] == float(mask.ravel()[heat.argmax()])
    with torch.inference_mode():
        drawn = both(image)["mask"][0, 0].numpy() > 0
    figures = segmentation_figures(drawn, mask)
    film, spacing = dataset.images.image(5), film_spacing(phantoms[5]["image"])
    factor = max(film.shape) / SIZE * spacing[0]
    assert found.measures["hd95_mm"][row] == pytest.approx(figures.hd95 * factor, rel=0.03)
    assert found.measures["iou"][row] == pytest.approx(figures.iou)
    for region in REGIONS:
        film_mask = dataset.masks.mask(5, film.shape)[None]
        view = ResizeCXR(SIZE)(BlankRegion(region)(film[None], film_mask))[None]
        with torch.inference_mode():
            expected = both(view)["label"].softmax(1)[0]
        table = load_predictions(tmp_path / "blanked" / f"{region}.csv")
        np.testing.assert_allclose(table.scores[row], expected, rtol=1e-4)
        assert [item["image"] for item in table.items] == [item["image"] for item in found.items[:18]]
        assert table.labels.tolist() == found.labels[:18].tolist()


@pytest.mark.parametrize("report", [True, False])
def test_predictions_are_written_once(tmp_path, phantoms, classifier, monkeypatch, report):
    """By the handlers as the bundles put them together, with and without the checks of a report."""
    written = []
    for module in (test_metrics, report_checks):
        save = module.save_predictions
        monkeypatch.setattr(
            module, "save_predictions", lambda part, path, save=save: written.append(path) or save(part, path)
        )
    config = json.loads(Path("bundles/multitask/configs/evaluate.json").read_text())
    handlers = [handler for handler in config["handlers"] if handler["_target_"].startswith("monai_cxrssl.")][1:]
    assert [handler["_target_"].rpartition(".")[2] for handler in handlers] == ["TestMetrics", "ReportChecks"]
    table = ConfigParser({"report": report, "table": handlers[0]["table"]}).get_parsed_content("table")
    dataset = data_of(phantoms[:4])
    items = dataset.images.items
    attached = [TestMetrics(tmp_path, items, CLASSES, "multi_class", resamples=20, table=table)]
    if report:
        attached.append(
            ReportChecks(
                classifier, dataset, tmp_path, CLASSES, "multi_class", validation_dataset=dataset, amp=False,
                progress=False,
            )
        )  # fmt: skip
    MultiTaskPredictor(
        "cpu", DataLoader(dataset, 4), classifier, "multi_class", CLASSES, amp=False, val_handlers=attached
    ).run()
    assert [path.name for path in written].count("predictions.csv") == 1
    found = load_predictions(tmp_path / "predictions.csv")
    assert ("pfs" in found.measures, len(found.items)) == ((True, 8) if report else (False, 4))


def test_classification_only_reads_the_lung_masks_that_the_items_name(tmp_path, phantoms, classifier):
    items = [*phantoms[:6], *without(phantoms[6:10], "lung_mask")]
    found, summary, _ = check(tmp_path, classifier, data_of(items))
    assert summary["lung_masks"] == {"mask": 6, "model": 0, "none": 4}
    assert np.isfinite(found.measures["lung_area"]).tolist() == [True] * 6 + [False] * 4
    assert found.measures["lung_from_model"][:6].tolist() == [0] * 6
    masks = data_of(items[:6], "lung")
    areas = [float(masks[n]["mask"].float().mean()) for n in range(6)]
    np.testing.assert_allclose(found.measures["lung_area"][:6], areas)
    assert [len(load_predictions(tmp_path / "blanked" / f"{name}.csv").items) for name in ("lungs", "corners")] == [
        6,
        10,
    ]
    told = {entry["figure"]: entry["reason"] for entry in summary["not_assessable"]}
    assert told["the lungs of some images"].startswith("4 of 10 images have no lung mask")
    assert "draws no mask" in told["the segmentation"]
    assert "what is chosen on validation" in told
    assert not (tmp_path / "galleries" / "segmentation.png").exists()


def test_segmentation_only(tmp_path, phantoms):
    found, summary, _ = check(tmp_path, network_of(0, "Unet"), data_of(phantoms[:6], "lung", []), [])
    assert found.scores.shape == (6, 0)
    assert {"dice", "iou", "hd95_mm"} <= set(found.measures)
    assert "pfs" not in found.measures
    assert blanked_files(tmp_path) == set()
    assert [path.name for path in (tmp_path / "galleries").iterdir()] == ["segmentation.png"]
    assert {"figure": "attention and blanked regions", "reason": "the network has no label head"} in summary[
        "not_assessable"
    ]


def test_without_masks_what_needs_lungs_is_not_assessable_and_old_files_go(tmp_path, phantoms, classifier):
    check(tmp_path, classifier, data_of(phantoms[:6]))
    assert blanked_files(tmp_path) == REGIONS
    found, summary, _ = check(tmp_path, classifier, data_of(without(phantoms[:6], "lung_mask")))
    assert blanked_files(tmp_path) == {"corners", "border"}
    assert not {"pfs", "lung_area", "lung_from_model"} & set(found.measures)
    assert (tmp_path / "galleries" / "attention.png").is_file()
    assert summary["lung_mask_from"] is None
    told = {entry["figure"] for entry in summary["not_assessable"]}
    assert {"every figure that needs lungs", "the score with lungs blanked"} <= told


@pytest.mark.parametrize(("bias", "origin"), [(100.0, "mask and model"), (-100.0, "mask")])
def test_lungs_of_the_model_where_the_data_set_has_none(tmp_path, phantoms, bias, origin):
    network = network_of(4, "Unet")
    with torch.no_grad():
        network.segmentation_head[0].weight.zero_()
        network.segmentation_head[0].bias.fill_(bias)
    items = [*phantoms[:2], *without(phantoms[2:6], "lung_mask")]
    found, summary, _ = check(tmp_path, network, data_of(items, "lung"))
    assert summary["lung_mask_from"] == origin
    if bias > 0:
        assert found.measures["lung_from_model"].tolist() == [0, 0, 1, 1, 1, 1]
        assert found.measures["lung_area"][2:].tolist() == [1] * 4
        # Lungs that fill the image leave nothing when they are blanked.
        assert len(load_predictions(tmp_path / "blanked" / "lungs.csv").items) == 2
    else:
        assert np.isnan(found.measures["lung_from_model"][2:]).all()
        assert "found no lungs" in summary["not_assessable"][1]["reason"]


def test_masks_of_lesions_are_not_taken_for_lungs(tmp_path, phantoms, both):
    items = without([{**item, "lesion_mask": item["lung_mask"]} for item in phantoms[:4]], "lung_mask")
    _, summary, _ = check(tmp_path, both, data_of(items, "lesion"))
    assert summary["lung_mask_from"] is None
    assert (tmp_path / "galleries" / "segmentation.png").is_file()


def test_two_sources_are_told_apart_as_the_probe_says(tmp_path, phantoms, classifier):
    items = [{**item, "source": "ab"[int(item["label"] % 2)]} for item in phantoms]
    dataset = data_of(items)
    check(tmp_path, classifier, dataset)
    found = json.loads((tmp_path / "source_prediction.json").read_text())
    with torch.inference_mode():
        image = torch.stack([dataset[n]["image"] for n in range(len(dataset))])
        features = classifier.encoder(image)[-1].mean((2, 3)).numpy()
    patients = [f"{item['source']}:{item['patient_id']}" for item in items]
    expected = predict_source(features, [item["source"] for item in items], patients)
    assert expected.macro_auc is not None
    assert found["macro_auc"]["value"] == pytest.approx(expected.macro_auc.value, abs=0.02)
    assert found["images"] == expected.images


def test_checks_see_what_a_normalised_network_sees():
    network = MultiTaskNet("resnet18", 2, decoder=None, input_normalisation="imagenet").eval()
    image = torch.rand(3, 1, 64, 64)
    outputs = NetworkOutputs(network, PredictionHead("multi_class", ["a", "b"]), "cpu", amp=False)
    with torch.no_grad():
        wanted = network(image)["label"].double().softmax(1).numpy()
        features = PooledFeatures(network)(image)
        label = network.classification_head[3](features)
    np.testing.assert_allclose(outputs.scores(image), wanted, atol=1e-6)
    np.testing.assert_allclose(label.double().softmax(1), wanted, atol=1e-6)


def test_some_patients_only(tmp_path, phantoms, classifier):
    dataset = data_of(phantoms)
    found, summary, _ = check(tmp_path, classifier, dataset, max_images=9, seed=3)
    checked = np.isfinite(found.measures["lung_area"])
    assert len(found.items) == len(phantoms)
    assert 1 <= checked.sum() == summary["images_checked"] <= 9
    patients = np.array([item["patient_id"] for item in found.items])
    assert not set(patients[checked]) & set(patients[~checked])
    again, _, _ = check(tmp_path, classifier, dataset, max_images=9, seed=3)
    np.testing.assert_array_equal(np.isfinite(again.measures["lung_area"]), checked)
    with pytest.raises(ConfigurationError, match="max_images is 0"):
        check(tmp_path, classifier, dataset, max_images=0)


def test_the_network_is_left_as_found(tmp_path, phantoms):
    network = network_of(4, "Unet").train()
    network.encoder.eval()
    network.encoder.requires_grad_(False)
    weights = {name: value.clone() for name, value in network.state_dict().items()}
    modes = [module.training for module in network.modules()]
    frozen = [weight.requires_grad for weight in network.parameters()]
    dataset = data_of(phantoms[:4], "lung")
    evaluator = MultiTaskPredictor("cpu", DataLoader(dataset, 4), network.eval(), "multi_class", CLASSES, amp=False)
    evaluator.run()
    for module, training in zip(network.modules(), modes, strict=True):
        module.training = training
    ReportChecks(
        network, dataset, tmp_path, CLASSES, "multi_class", validation_dataset=dataset, amp=False, progress=False
    ).write(evaluator)
    assert [module.training for module in network.modules()] == modes
    assert [weight.requires_grad for weight in network.parameters()] == frozen
    assert all(weight.grad is None for weight in network.parameters())
    assert all(torch.equal(value, weights[name]) for name, value in network.state_dict().items())


def test_several_labels_unknown_labels_and_unreadable_files(tmp_path, phantoms, classifier):
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"\x89PNG\r\n\x1a\n none")
    rows = [[1, 0, 0, None], [0, 1, 1, 0], [0, 0, 0, 0], [None, None, 1, None]]
    items = [{**item, "label": label} for item, label in zip(phantoms, rows, strict=False)]
    items.insert(1, {**items[0], "image": str(broken), "lung_mask": None})
    dataset = data_of(items, task="multi_label")
    found, summary, _ = check(tmp_path / "out", classifier, dataset, task="multi_label", validation_dataset=dataset)
    assert len(found.items) == 8
    assert [entry["image"] for entry in found.unreadable] == [str(broken)] * 2
    assert np.isfinite(found.measures["pfs"][:4]).any()
    assert summary["images"] == 4
    assert (tmp_path / "out" / "galleries" / "attention.png").is_file()


def test_scores_that_are_no_numbers(tmp_path, phantoms):
    network = network_of(4, None)
    with torch.no_grad():
        network.classification_head[-1].bias.fill_(float("nan"))
    dataset = data_of(phantoms[:4])
    run = SimpleNamespace(
        indices=np.arange(4), scores=np.full((4, 4), np.nan), labels=dataset.labels, dice=np.full(4, np.nan)
    )
    ReportChecks(network, dataset, tmp_path, CLASSES, "multi_class", progress=False).write(run)
    found = load_predictions(tmp_path / "predictions.csv")
    assert np.isnan(found.scores).all()
    assert "pfs" not in found.measures
    assert np.isnan(load_predictions(tmp_path / "blanked" / "corners.csv").scores).all()
    summary = json.loads((tmp_path / "checks.json").read_text())
    assert "the gallery of decisions" in {entry["figure"] for entry in summary["not_assessable"]}


def test_a_vision_transformer(tmp_path, phantoms):
    torch.manual_seed(0)
    network = MultiTaskNet("tu-vit_tiny_patch16_224", 4, decoder=None).eval()
    found, summary, _ = check(tmp_path, network, data_of(phantoms[:3]))
    assert summary["saliency_method"] == "Grad-CAM on the tokens of the last block"
    assert np.isfinite(found.measures["lung_area"]).all()
    assert blanked_files(tmp_path) == REGIONS


def test_a_film_that_is_gone_has_no_distances(tmp_path, phantoms, both):
    path = tmp_path / "film.dcm"
    path.write_bytes(Path(phantoms[0]["image"]).read_bytes())
    dataset = data_of([{**phantoms[0], "image": str(path)}, phantoms[1]], "lung")
    path.unlink()
    found, _, _ = check(tmp_path / "out", both, dataset)
    assert np.isfinite(found.measures["iou"]).all()
    assert np.isfinite(found.measures["hd95_mm"]).tolist() == [False, True]


def test_an_evaluator_of_other_images_is_refused(tmp_path, phantoms, classifier):
    evaluator = MultiTaskPredictor(
        "cpu", DataLoader(data_of(phantoms[:2]), 2), classifier, "multi_class", CLASSES, amp=False
    )
    evaluator.run()
    with pytest.raises(ConfigurationError, match="saw 2 images, not all 4"):
        ReportChecks(classifier, data_of(phantoms[:4]), tmp_path, CLASSES, "multi_class", progress=False).write(
            evaluator
        )
