# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""A pull request to MONAI's model zoo: its layout, and the calls of the zoo's ``verify_bundle.py`` without overrides."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import monai.bundle
import pytest
import torch
from monai.bundle import ConfigParser

from monai_cxrssl.apps.cli.main import main
from monai_cxrssl.apps.pack.zoo import exclusions, zoo_name
from monai_cxrssl.handlers.model_files import store_description
from monai_cxrssl.networks import Encoder, MultiTaskNet
from monai_cxrssl.networks.description import described_encoder

REPO = Path(__file__).parents[3]
SCHEMA = REPO / "monai_cxrssl" / "apps" / "pack" / "meta_schema_20240725.json"
VIT, SMALL = "tu-vit_tiny_patch16_224", {"embed_dim": 48, "num_heads": 3, "img_size": 64}
URL = "https://example.org/model.pt"
#: The zoo's own stand-in for a run, ``ci/unit_tests/utils.py``.
UTILS = """
def check_workflow(workflow, check_properties=False):
    workflow.initialize()
    assert not check_properties or not workflow.check_properties()
    workflow.run()
    workflow.finalize()
"""


def trained(bundle: str, folder: Path, encoder: str = "mobilenet_v2") -> Path:
    """Weights of random values, described as training describes them."""
    torch.manual_seed(1)
    arguments = {"encoder_arguments": SMALL} if encoder == VIT else {}
    settings: dict = {"image_size": 64}
    network: Encoder | MultiTaskNet
    if bundle in ("classification", "lung_segmentation", "multitask"):
        classes = [] if bundle == "lung_segmentation" else ["normal", "other"]
        decoder = None if bundle == "classification" else "FPN"
        network = MultiTaskNet(encoder, len(classes), decoder, **arguments)
        settings |= {"classes": classes, "task": "multi_class", "decoder": decoder, "mask": decoder and "lung",
                     "mask_channels": 1}  # fmt: skip
    else:
        network = Encoder(encoder, **arguments)
    folder.mkdir(parents=True)
    torch.save(network.state_dict(), folder / "model.pt")
    store_description(folder / "model.pt", settings | described_encoder(network))
    return folder / "model.pt"


def packed(bundle: str, folder: Path, *words: str, encoder: str = "mobilenet_v2") -> tuple[int, Path]:
    weights = trained(bundle, folder / "run", encoder)
    status = main(["pack", str(REPO / "bundles" / bundle), "--zoo", "--out", str(folder / "zoo"), "--model_path",
                   str(weights), *words])  # fmt: skip
    return status, folder / "zoo"


def zoo_calls(folder: Path, shape: bool = True) -> None:
    """Do what the zoo's script does in full mode, its exclusion lists aside."""
    large = folder / "large_files.yml"
    if large.is_file():
        parser = ConfigParser()
        parser.read_config(str(large))
        for entry in parser.get()["large_files"]:
            digest = hashlib.new(entry["hash_type"], (folder / entry["path"]).read_bytes()).hexdigest()
            assert digest == entry["hash_val"]
    assert all((folder / name).is_file() for name in ("LICENSE", "models/model.pt", "configs/inference.json"))
    meta_file = str(folder / "configs" / "metadata.json")
    metadata = json.loads(Path(meta_file).read_text())
    assert metadata["version"] in metadata["changelog"]
    (folder / "eval").mkdir()
    (folder / "eval" / "schema.json").write_bytes(SCHEMA.read_bytes())
    monai.bundle.verify_metadata(meta_file=meta_file, filepath=str(folder / "eval" / "schema.json"))
    assert metadata["supported_apps"] == {}
    config = {"meta_file": meta_file, "config_file": str(folder / "configs" / "inference.json"),
              "bundle_root": str(folder)}  # fmt: skip
    if shape:
        monai.bundle.verify_net_in_out(net_id="network_def", **config)
    script = folder / "models" / "verify_model.ts"
    monai.bundle.ckpt_export(
        net_id="network_def", filepath=str(script), ckpt_file=str(folder / "models" / "model.pt"), **config
    )
    assert torch.jit.load(script) is not None


@pytest.mark.parametrize(
    ("bundle", "encoder", "name"),
    [
        ("classification", "mobilenet_v2", "chest_xray_classification"),
        ("lung_segmentation", "mobilenet_v2", "chest_xray_lung_segmentation"),
        ("spcxr", VIT, "chest_xray_spcxr_pretraining"),
    ],
)
def test_the_zoos_calls_pass_without_overrides(bundle, encoder, name, tmp_path, monkeypatch, capsys):
    status, zoo = packed(bundle, tmp_path, encoder=encoder)
    said = capsys.readouterr().out
    assert status == 0
    assert "exclude_" not in said
    assert {path.relative_to(zoo).as_posix() for path in zoo.glob("*/*") if path.name != name} == {"ci/unit_tests"}
    text = (zoo / "ci" / "unit_tests" / f"test_{name}.py").read_text()
    compile(text, name, "exec")
    assert f'BUNDLE_ROOT = "models/{name}"' in text
    monkeypatch.chdir(zoo)
    folder = Path("models") / name
    zoo_calls(folder)
    # Commands of the page, from inside the folder, and what a pack is loaded by.
    monkeypatch.chdir(folder)
    page = Path("docs/README.md").read_text()
    assert "\n## **MONAI Bundle Commands**\n" in page
    assert "\n## **License**\n" in page
    assert "does not support TorchScript" not in page
    image = torch.rand(1, 1, 64, 64)
    network = monai.bundle.load(
        name, bundle_dir="..", workflow_type="inference", device="cpu", source="monaihosting"
    ).eval()  # fmt: skip
    monai.bundle.ckpt_export("network_def", "traced.ts", "models/model.pt", "configs/metadata.json",
                             "configs/inference.json", use_trace=True)  # fmt: skip
    with torch.no_grad():
        expected = network(image)
        for file in ("models/verify_model.ts", "traced.ts"):
            torch.testing.assert_close(torch.jit.load(file)(image), expected, rtol=1e-4, atol=1e-5)


def test_two_outputs_are_named_for_the_zoos_lists(tmp_path, capsys):
    status, zoo = packed("multitask", tmp_path)
    assert status == 0
    assert (
        "Add 'chest_xray_multitask_segmentation' to exclude_verify_shape_list in the zoo's" in capsys.readouterr().out
    )
    zoo_calls(zoo / "models" / "chest_xray_multitask_segmentation", shape=False)


def test_what_torchscript_cannot_compile_is_said_in_the_page(tmp_path, capsys):
    assert exclusions("x", ["pred"], scripts=False)[0].startswith("Add 'x' to exclude_verify_torchscript_list")
    status, zoo = packed("simclr", tmp_path, "--weights_url", URL, encoder="dpn68")
    assert status == 0
    assert "exclude_verify_torchscript_list" in capsys.readouterr().out
    page = (zoo / "models" / "chest_xray_simclr_pretraining" / "docs" / "README.md").read_text()
    assert "This network does not support TorchScript. TorchScript cannot compile the encoder dpn68" in page
    assert "ckpt_export network_def" not in page


def test_large_weights_stay_out_of_the_pull_request(tmp_path, capsys):
    status, zoo = packed("simclr", tmp_path, encoder="resnet18")
    assert status == 2
    assert "the model zoo takes 25 in its repository: say with --weights_url" in capsys.readouterr().err
    assert not zoo.exists()
    weights = tmp_path / "run" / "model.pt"
    words = ["pack", str(REPO / "bundles" / "simclr"), "--zoo", "--out", str(zoo), "--model_path", str(weights),
             "--weights_url", URL]  # fmt: skip
    assert main(words) == 0
    assert f"model.pt to {URL}; it stays out of the pull request" in capsys.readouterr().out
    folder, upload = zoo / "models" / "chest_xray_simclr_pretraining", zoo / "upload" / "chest_xray_simclr_pretraining"
    assert not (folder / "models" / "model.pt").exists()
    assert (upload / "model.pt").read_bytes() == weights.read_bytes()
    assert main(words) == 0
    assert "Already there, with the same content" in capsys.readouterr().out
    (upload / "model.pt").rename(folder / "models" / "model.pt")  # as the zoo's download of large files does
    zoo_calls(folder)


def test_names_and_forms_that_the_zoo_does_not_take(tmp_path, capsys):
    assert zoo_name("my-chest.xray_model", {"classes": ["a"]}) == "my_chest_xray_model_classification"
    assert packed("classification", tmp_path, "--zip")[0] == 2
    assert "The model zoo takes a folder" in capsys.readouterr().err


@pytest.mark.slow
def test_the_zoos_unit_test_of_a_pack_runs(tmp_path):
    _, zoo = packed("lung_segmentation", tmp_path)
    (test,) = (zoo / "ci" / "unit_tests").glob("test_*.py")
    (test.parent / "utils.py").write_text(UTILS)
    before = {path: path.stat().st_mtime_ns for path in zoo.rglob("*.pt")}
    result = subprocess.run([sys.executable, test], cwd=zoo, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr[-3000:]
    assert "Ran 3 tests" in result.stderr
    assert {path: path.stat().st_mtime_ns for path in zoo.rglob("*.pt")} == before
