# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import base64
import hashlib
import json
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import torch
from monai.bundle import ConfigParser

from monai_cxrssl.apps.cli.main import main
from monai_cxrssl.apps.pack.check import BundleCheck, _strict_parsers, check_bundle
from monai_cxrssl.apps.pack.evidence import find_machine_paths, without_paths
from monai_cxrssl.apps.pack.package import SUMS, file_sums, pack_bundle
from monai_cxrssl.errors import ConfigurationError
from monai_cxrssl.handlers.model_files import store_description
from monai_cxrssl.networks import Encoder, MultiTaskNet, Normalisation
from monai_cxrssl.networks.weights.header import tensors_sha256

NAME = "chest_xray_multitask_segmentation"
CLASSES = ["no finding", "patient's tube", "effusion"]
REPO = Path(__file__).parents[3]


def save(folder: Path, network: torch.nn.Module, **settings) -> Path:
    folder.mkdir(parents=True)
    torch.save(network.state_dict(), folder / "model.pt")
    store_description(folder / "model.pt", settings)
    (folder / "model.patients.json").write_text('{"format":1,"salt":"s","count":1,"patients":["0123456789abcdef"]}')
    return folder / "model.pt"


@pytest.fixture(scope="module")
def weights(tmp_path_factory) -> Path:
    torch.manual_seed(1)
    return save(
        tmp_path_factory.mktemp("run") / "m", MultiTaskNet("mobilenet_v2", num_classes=3, decoder="FPN"),
        encoder_name="mobilenet_v2", image_size=64, classes=CLASSES, task="multi_label", decoder="FPN", mask="lung",
        mask_channels=1,
    )  # fmt: skip


@pytest.fixture(scope="module")
def report(tmp_path_factory, weights) -> Path:
    """A report as the package writes it, with a plot and a gallery of images, and the machine's paths in it."""
    folder = tmp_path_factory.mktemp("report")
    (folder / "figures").mkdir()
    plot, film = b"\x89PNG plot/home/x/y", b"\x89PNG image"
    (folder / "figures" / "ranking.png").write_bytes(plot)
    (folder / "figures" / "gallery_attention.png").write_bytes(film)
    figures = "".join(
        f'<figure><img src="data:image/png;base64,{base64.b64encode(data).decode()}" alt="{name}"><figcaption>{name}'
        "</figcaption></figure>"
        for name, data in (("a plot", plot), ("an image", film))
    )
    (folder / "index.html").write_text(
        f"<!doctype html><html><body>{figures}<td>/home/somebody/venv/run.py run --output_dir /data/clinic/out 3/4</td>"
        '<a href="https://example.org/a/b">x</a></body></html>'
    )
    told = {"macro_auc": 0.81, "macro_auc_ci_low": 0.7, "macro_auc_ci_high": 0.9, "images": 40, "verdict": "Not ready.",
            "not_assessable": [{"figure": "dice", "reason": "no masks in /home/somebody/films"}]}  # fmt: skip
    (folder / "metrics.json").write_text(json.dumps(told))
    digest = hashlib.sha256(weights.read_bytes()).hexdigest()
    tensors = tensors_sha256(weights)
    provenance = {"weights": {"file": "model.pt", "sha256": digest, "tensors_sha256": tensors}, "command": "/home/somebody/run.py", "seed": 3,
                  "data": {"name": "clinic"}, "split_audit": {"leaks": 0, "findings": ["P17"]}}  # fmt: skip
    (folder / "provenance.json").write_text(json.dumps(provenance))
    (folder / "predictions.csv").write_text("image,patient_id\na.png,P17\n")
    return folder


@pytest.fixture(scope="module")
def packed(tmp_path_factory, weights, report) -> Path:
    out = tmp_path_factory.mktemp("dist")
    words = ["pack", str(REPO / "bundles" / "multitask"), "--name", NAME, "--out", str(out)]
    assert main([*words, "--model_path", str(weights), "--report", str(report)]) == 0
    return out / NAME


def texts(folder: Path) -> str:
    files = [path for path in folder.rglob("*") if path.is_file() and path.suffix != ".pt"]
    return "\n".join(path.read_text() for path in files)


def test_pack_holds_what_it_must_and_nothing_else(packed):
    assert {path.relative_to(packed).as_posix() for path in packed.rglob("*") if path.is_file()} == {
        "LICENSE", "SHA256SUMS", "configs/metadata.json", "configs/train.json", "configs/evaluate.json",
        "configs/inference.json", "configs/multi_gpu_train.json", "configs/recipes.json", "configs/logging.conf",
        "docs/README.md",
        "docs/data_license.txt", "docs/manual.md", "models/model.pt", "models/model.json", "report/index.html",
        "report/metrics.json", "report/provenance.json",
    }  # fmt: skip
    assert [path.name for path in packed.parent.iterdir()] == [NAME]
    told = texts(packed)
    for private in ("somebody", "clinic", "P17", "0123456789abcdef", "bundles/multitask"):
        assert private not in told
    assert "https://example.org/a/b" in told


def test_sums_are_those_of_sha256sum(packed):
    lines = [line.split("  ") for line in (packed / "SHA256SUMS").read_text().splitlines()]
    assert {name: digest for digest, name in lines} == {
        path.relative_to(packed).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in packed.rglob("*")
        if path.is_file() and path.name != "SHA256SUMS"
    }


def test_metadata_is_that_of_the_trained_model(packed):
    about = json.loads((packed / "configs" / "metadata.json").read_text())
    formats = about["network_data_format"]
    assert formats["inputs"]["image"]["spatial_shape"] == [64, 64]
    assert formats["outputs"]["label"]["channel_def"] == {"0": CLASSES[0], "1": CLASSES[1], "2": CLASSES[2]}
    assert formats["outputs"]["label"]["spatial_shape"] == [1, 3]
    assert formats["outputs"]["mask"]["spatial_shape"] == [64, 64]
    assert about["pytorch_version"] == torch.__version__.partition("+")[0]
    assert about["eval_metrics"] == {"macro_auc": 0.81}


def test_page_keeps_plots_and_loses_films(packed):
    page = (packed / "report" / "index.html").read_text()
    assert base64.b64encode(b"\x89PNG plot/home/x/y").decode() in page
    assert base64.b64encode(b"\x89PNG image").decode() not in page
    assert "an image" not in page
    assert "<td>run.py run --output_dir out 3/4</td>" in page


def test_card_has_the_sections_of_the_zoo(packed):
    card = (packed / "docs" / "README.md").read_text()
    for section in ("Model Description", "Data", "Performance", "System Configuration", "Limitations", "References"):
        assert f"\n## **{section}**\n" in card
    assert "0.810 (0.700 to 0.900)" in card
    assert "Not ready." in card
    assert "mobilenet_v2" in card


@pytest.mark.slow
def test_check_in_a_fresh_process(packed, capsys):
    assert main(["pack", "--check", str(packed)]) == 0, capsys.readouterr().out
    told = capsys.readouterr().out
    assert told.count("ok: ") == 6
    assert "monai.bundle.load fills all" in told
    assert "verify_net_in_out" in told
    assert "check_properties" in told
    assert "note: The configs were run as code" in told
    assert told.endswith("all checks passed.\n")


def test_zip_has_the_same_bytes_again_and_unpacks_to_the_folder(packed, weights, report, tmp_path):
    words = (REPO / "bundles" / "multitask", NAME)
    made = [
        pack_bundle(*words, tmp_path / which, model_path=weights, report=report, as_zip=True).path for which in "ab"
    ]
    assert made[0].name == f"{NAME}_v0.1.0.zip"
    assert made[0].read_bytes() == made[1].read_bytes()
    with zipfile.ZipFile(made[0]) as archive:
        archive.extractall(tmp_path)
    shown = subprocess.run(["diff", "-r", tmp_path / NAME, packed], capture_output=True, text=True, check=False)
    assert shown.stdout == ""
    assert not pack_bundle(*words, tmp_path / "a", model_path=weights, report=report, as_zip=True).written
    (tmp_path / NAME / "LICENSE").write_text("mine")
    with zipfile.ZipFile(tmp_path / "changed.zip", "w") as archive:
        for path in (tmp_path / NAME).rglob("*"):
            archive.write(path, path.relative_to(tmp_path))
    told = check_bundle(tmp_path / "changed.zip")
    assert len(told["problems"]) == 1
    assert told["problems"][0].startswith("LICENSE is not the file")


def test_what_is_asked_for_comes_along(weights, report, tmp_path):
    (tmp_path / "facts.json").write_text(
        json.dumps({"data_source": "900 images of one clinic", "limitations": ["few"]})
    )
    packed = pack_bundle(
        REPO / "bundles" / "multitask", NAME, tmp_path, model_path=weights, report=report, version="1.2.0",
        changes="weights of the second run", weights_url="https://example.org/model.pt", include_patients=True,
        include_predictions=True, include_films=True, facts=tmp_path / "facts.json",
    )  # fmt: skip
    told = texts(packed.path)
    assert "0123456789abcdef" in told
    assert "a.png,P17" in told
    assert base64.b64encode(b"\x89PNG image").decode() in told
    assert f'hash_val: "{hashlib.sha256(weights.read_bytes()).hexdigest()}"' in told
    about = json.loads((packed.path / "configs" / "metadata.json").read_text())
    assert about["version"] == "1.2.0"
    assert about["data_source"] == "900 images of one clinic"
    assert "| Data | Source of data | 900 images of one clinic |" in (packed.path / "docs" / "README.md").read_text()
    assert about["changelog"]["1.2.0"] == "weights of the second run"


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"name": "Chest-Xray"}, "no name of the model zoo"),
        ({"name": "segmentation"}, "no name of the model zoo"),
        ({"name": "chest_xray_classification"}, "must hold the word segmentation"),
        ({"bundle": "classification", "name": "chest_xray_multitask_segmentation", "model": {"classes": 3}}, "classes"),
        ({"bundle": "lung_segmentation"}, "it is of another bundle"),
        ({"bundle": "micle"}, "builds an encoder"),
        ({"bundle": "parts"}, "holds no metadata.json"),
        ({"model_path": "absent.pt"}, "There are no weights at"),
        ({"version": "2.0.0"}, "--changes"),
        ({"version": "two", "changes": "x"}, "is no version"),
        ({"facts": "[]"}, "no JSON object"),
        ({"facts": '{"version": "3"}'}, "which pack sets itself"),
        ({"facts": "{"}, "cannot be read as JSON"),
        ({"report": "nowhere"}, "cannot be read"),
        ({"include_predictions": True, "without": "predictions.csv"}, "no predictions.csv"),
        ({"digest": "0" * 64}, "is of other weights"),
        ({"checkpoint": True}, "is no plain state dict"),
        ({"leak": "/home/somebody/teacher.pt"}, "models/model.json names /home/somebody"),
    ],
)
def test_refusals_leave_nothing(weights, report, tmp_path, change, expected):
    folder, model = tmp_path / "report", tmp_path / "m" / "model.pt"
    shutil.copytree(report, folder)
    shutil.copytree(weights.parent, model.parent)
    settings = json.loads(model.with_suffix(".json").read_text())
    if "without" in change:
        (folder / change["without"]).unlink()
    if "digest" in change:
        (folder / "provenance.json").write_text(json.dumps({"weights": {"sha256": change["digest"]}}))
    if "checkpoint" in change:
        torch.save({"model": torch.load(model), "epoch": 3}, model)
        (folder / "provenance.json").unlink()
    if "model" in change or "leak" in change:
        settings |= {**change.get("model", {}), "teacher": change.get("leak")}
        store_description(model, settings)
    if "facts" in change:
        (tmp_path / "facts.json").write_text(change["facts"])
    options = {key: change[key] for key in ("version", "changes", "include_predictions") if key in change}
    options |= {"facts": tmp_path / "facts.json"} if "facts" in change else {}
    with pytest.raises(ConfigurationError, match=expected):
        pack_bundle(
            REPO / "bundles" / change.get("bundle", "multitask"), change.get("name", NAME), tmp_path / "out",
            model_path=tmp_path / change["model_path"] if "model_path" in change else model,
            report=tmp_path / change["report"] if "report" in change else folder, **options,
        )  # fmt: skip
    assert not (tmp_path / "out").exists() or list((tmp_path / "out").iterdir()) == []


def test_a_folder_with_other_content_stays(packed, weights, report, tmp_path, capsys):
    shutil.copytree(packed, tmp_path / NAME)
    words = ["pack", str(REPO / "bundles" / "multitask"), "--name", NAME, "--out", str(tmp_path), "--model_path",
             str(weights), "--report", str(report)]  # fmt: skip
    assert main(words) == 0
    assert "Already there, with the same content" in capsys.readouterr().out
    (tmp_path / NAME / "mine.txt").write_text("mine")
    assert main(words) == 2
    error = capsys.readouterr().err
    assert "exists with other content" in error
    assert error.count("\n") == 1
    assert (tmp_path / NAME / "mine.txt").read_text() == "mine"


@pytest.mark.parametrize(
    ("path", "text", "expected"),
    [
        ("docs/README.md", "other", "docs/README.md is not the file that SHA256SUMS lists"),
        ("docs/README.md", None, "docs/README.md is missing"),
        ("runs/log.txt", "x", "runs/log.txt does not belong into a pack"),
        ("models/last.pt", "x", "models/last.pt does not belong into a pack"),
        ("report/notes.txt", "see /home/me/data", "names /home/me"),
        ("SHA256SUMS", None, "has no SHA256SUMS"),
        ("configs/metadata.json", "{}", "check_metadata"),
    ],
)
def test_check_says_what_is_wrong_and_builds_nothing(packed, tmp_path, path, text, expected):
    folder = tmp_path / NAME
    shutil.copytree(packed, folder)
    if text is None:
        (folder / path).unlink()
    else:
        (folder / path).parent.mkdir(exist_ok=True)
        (folder / path).write_text(text)
    (tmp_path / "scratch").mkdir()
    check = BundleCheck(folder, tmp_path / "scratch")
    check.run()
    assert any(expected in problem for problem in check.problems), check.problems
    assert check.network is None


def with_sums(folder: Path) -> None:
    """Bring the sums up to date, as whoever tampers with a pack would."""
    lines = (f"{digest}  {name}" for name, digest in file_sums(folder).items())
    (folder / SUMS).write_text("\n".join(lines) + "\n")


@pytest.mark.slow
def test_strict_check_passes_our_own_pack(packed, capsys):
    assert main(["pack", "--check", str(packed), "--strict"]) == 0, capsys.readouterr().out
    told = capsys.readouterr().out
    assert told.count("ok: ") == 7
    assert "No code beyond the allow-list in " in told
    assert "run as code" not in told


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("configs/inference.json", "$__import__('os').system('touch {mark}')", "configs/inference.json: "),
        ("configs/multi_gpu_train.json", "$os.system('touch {mark}')", "configs/multi_gpu_train.json: "),
        ("segmentation_models_pytorch.py", "open('{mark}', 'w')", "segmentation_models_pytorch.py is code"),
    ],
)
def test_strict_check_refuses_code_and_runs_nothing(packed, tmp_path, name, text, expected):
    folder, mark = tmp_path / NAME, tmp_path / "ran"
    shutil.copytree(packed, folder)
    text = text.replace("{mark}", str(mark))
    if name.endswith(".json"):
        content = json.loads((folder / name).read_text())
        text = json.dumps(content | {"initialize": [text]})
    (folder / name).write_text(text)
    with_sums(folder)
    (tmp_path / "scratch").mkdir()
    check = BundleCheck(folder, tmp_path / "scratch", strict=True)
    check.run()
    assert [problem for problem in check.problems if problem.startswith(expected)], check.problems
    assert check.network is None
    assert not mark.exists()


def test_strict_parsers_are_put_back():
    from monai.bundle import ConfigParser, scripts, workflows

    with _strict_parsers():
        assert workflows.ConfigParser is scripts.ConfigParser is not ConfigParser
    assert workflows.ConfigParser is scripts.ConfigParser is ConfigParser


def test_strict_goes_with_check_only(capsys):
    assert main(["pack", "bundles/multitask", "--name", NAME, "--out", "x", "--strict"]) == 2
    assert "--strict goes with --check" in capsys.readouterr().err


def test_check_finds_weights_that_are_not_loaded(packed, tmp_path):
    """``monai.bundle.load`` leaves out what does not fit, without an error."""
    folder = tmp_path / NAME
    shutil.copytree(packed, folder)
    config = json.loads((folder / "configs" / "inference.json").read_text())
    (folder / "configs" / "inference.json").write_text(json.dumps(config | {"decoder": "Unet"}))
    check = BundleCheck(folder, tmp_path)
    check._try(check.check_metadata)
    check._try(check.check_load)
    assert len(check.problems) == 1
    assert "the config is of another model" in check.problems[0]


def test_an_encoder_is_packed_too(tmp_path):
    weights = save(tmp_path / "m", Encoder("mobilenet_v2"), encoder_name="mobilenet_v2", image_size=64)
    words = (REPO / "bundles" / "simclr",)
    with pytest.raises(ConfigurationError, match="must hold the word pretraining"):
        pack_bundle(*words, "chest_xray_simclr", tmp_path / "out", model_path=weights)
    packed = pack_bundle(*words, "chest_xray_simclr_pretraining", tmp_path / "out", model_path=weights)
    assert any("no report" in note for note in packed.notes)
    check = BundleCheck(packed.path, tmp_path)
    for part in (check.check_files, check.check_metadata, check.check_load, check.check_forward, check.check_shapes):
        check._try(part)
    assert check.problems == []
    outputs = check.metadata["network_data_format"]["outputs"]
    assert outputs["pred"]["num_channels"] == 1280
    assert outputs["pred"]["spatial_shape"] == [1, 1280]


@pytest.mark.parametrize(
    "words", [[], ["bundles/multitask"], ["bundles/multitask", "--name", NAME], ["--check", "absent"],
              ["bundles/multitask", "--check", "absent"]],
)  # fmt: skip
def test_wrong_use_is_one_sentence(words, capsys):
    assert main(["pack", *words]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert error.count("\n") == 1


def test_help_answers_without_heavy_imports():
    code = "import sys, monai_cxrssl.apps.cli.pack as p; sys.exit('monai_cxrssl.apps.pack.package' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("run /home/me/x/run.py now", "run run.py now"),
        ("1/2/3 and/or a/b/c", "1/2/3 and/or a/b/c"),
        ("https://arxiv.org/abs/1", "https://arxiv.org/abs/1"),
        (r"C:\Users\me\x.png", "x.png"),
        ({"a": ["/data/b/c.png", 1, None]}, {"a": ["c.png", 1, None]}),
    ],
)
def test_paths_are_cut_to_their_last_part(text, expected):
    assert without_paths(text) == expected


def test_configs_expressions_are_no_paths(tmp_path):
    (tmp_path / "a.json").write_text(json.dumps({"x": "$@output_dir + '/phantom/images'", "y": "/workspace/data/x"}))
    assert find_machine_paths(tmp_path) == []
    assert find_machine_paths(tmp_path, Path("/workspace/data")) != []


def test_a_pack_normalises_as_its_weights_want(tmp_path):
    """Also where the weights are not there yet, as in a repository that lists large files."""
    imagenet = Normalisation.of("imagenet")
    about = {"encoder_name": "resnet18", "image_size": 64, **imagenet.described()}
    weights = save(tmp_path / "run", Encoder("resnet18", input_normalisation="imagenet"), **about)
    pack_bundle(REPO / "bundles" / "simclr", "chest_xray_pretraining", tmp_path, model_path=weights)
    folder = tmp_path / "chest_xray_pretraining"
    steps = json.loads((folder / "configs" / "metadata.json").read_text())
    steps = steps["network_data_format"]["inputs"]["image"]["preprocessing"]
    assert steps[-1] == {"step": "normalise", "part_of": "the network", **imagenet.as_option()}
    assert steps[-2]["step"] == "resize"
    for present in (True, False):
        if not present:
            (folder / "models" / "model.pt").unlink()
            (folder / "models" / "model.json").unlink()
        for name in ("inference", "evaluate"):
            parser = ConfigParser()
            parser.read_config(folder / "configs" / f"{name}.json")
            parser["bundle_root"] = str(folder)
            network = parser.get_parsed_content("network_def")
            assert network.normalise.normalisation == imagenet
            assert network.encoder.conv1.weight.shape[1] == 3

    own = tmp_path / "own"
    shutil.copytree(REPO / "bundles" / "simclr", own, ignore=shutil.ignore_patterns("*.pt", "runs"))
    path = own / "configs" / "inference.json"
    config = json.loads(path.read_text())
    del config["input_normalisation"]
    path.write_text(json.dumps(config))
    with pytest.raises(ConfigurationError, match=r"inference\.json has no input_normalisation.*imagenet"):
        pack_bundle(own, "chest_xray_pretraining", tmp_path / "other", model_path=weights)
