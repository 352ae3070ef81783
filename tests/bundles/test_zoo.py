# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""What MONAI and its model zoo ask of every bundle."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from monai.bundle import ConfigWorkflow, verify_metadata

META_SCHEMA = Path(__file__).parents[2] / "monai_cxrssl" / "apps" / "pack" / "meta_schema_20240725.json"
BUNDLES = sorted(path.parent for path in (Path(__file__).parents[2] / "bundles").glob("*/train.json"))
WORKFLOWS = [("train", "train"), ("infer", "inference"), ("infer", "evaluate")]

pytestmark = pytest.mark.parametrize("bundle", BUNDLES, ids=lambda path: path.name)


def test_bundles_of_a_family_do_not_drift(bundle):
    """A bundle is a folder that works alone, so what bundles share stands in each; here it is held together."""
    family = [other for other in BUNDLES if _is_fine_tuning(other) == _is_fine_tuning(bundle)]
    for path in ("LICENSE", "configs/logging.conf", "docs/data_license.txt"):
        assert (bundle / path).read_bytes() == (BUNDLES[0] / path).read_bytes()
    first = family[0]
    for config in ("evaluate", "inference"):
        own, other = (
            _without_defaults(json.loads((b / "configs" / f"{config}.json").read_text()), b) for b in (bundle, first)
        )
        assert own == other


def _is_fine_tuning(bundle):
    return "fine_tuning_options" in (bundle / "train.json").read_text()


def _without_defaults(content, bundle):
    """The config without the values that stand for a model that is not there yet, or for its number of branches."""
    assert content["network_def"].pop("return_dict", None) in (None, bundle.name == "multitask")
    text = json.dumps(content).replace(bundle.name, "NAME")
    content = json.loads(re.sub(r"(read_model_setting\(@model_path, '\w+'), [^)]*\)", r"\1)", text))
    return {name: value for name, value in content.items() if name not in ("classes", "decoder", "mask")}


@pytest.mark.parametrize("name", ["train.json", "metadata.json", "logging.conf"])
def test_root_copies_do_not_drift(bundle, name):
    assert (bundle / name).read_bytes() == (bundle / "configs" / name).read_bytes()


def test_files_are_complete(bundle):
    configs = {path.name for path in (bundle / "configs").iterdir()}
    assert {
        "metadata.json", "recipes.json", "train.json", "evaluate.json", "inference.json", "multi_gpu_train.json", "logging.conf",
    } <= configs  # fmt: skip
    for name in ("LICENSE", "docs/README.md", "docs/data_license.txt"):
        assert (bundle / name).stat().st_size > 100


def test_metadata_passes_the_schema(bundle, tmp_path):
    schema = tmp_path / "schema.json"
    schema.write_bytes(META_SCHEMA.read_bytes())
    verify_metadata(meta_file=str(bundle / "configs" / "metadata.json"), filepath=str(schema))


@pytest.mark.parametrize("missing", ["monai_version", "task", "network_data_format"])
def test_schema_of_this_test_refuses(bundle, missing, tmp_path):
    metadata = json.loads((bundle / "configs" / "metadata.json").read_text())
    del metadata[missing]
    (tmp_path / "metadata.json").write_text(json.dumps(metadata))
    schema = tmp_path / "schema.json"
    schema.write_bytes(META_SCHEMA.read_bytes())
    with pytest.raises(ValueError, match="Failed validating"):
        verify_metadata(meta_file=str(tmp_path / "metadata.json"), filepath=str(schema))


def test_changelog_names_the_version(bundle):
    metadata = json.loads((bundle / "configs" / "metadata.json").read_text())
    assert metadata["version"] in metadata["changelog"]


@pytest.mark.parametrize(("kind", "config"), WORKFLOWS)
def test_check_properties(bundle, kind, config, few_films, tmp_path, monkeypatch):
    monkeypatch.chdir(bundle)
    encoder = "tu-vit_tiny_patch16_224" if bundle.name in ("eva_x", "spcxr") else "resnet18"
    # The weights that come with a bundle say their encoder themselves.
    shipped = config != "train" and (bundle / "weights").is_dir()
    small = {} if shipped else {"encoder_name": encoder, "image_size": 64}
    workflow = ConfigWorkflow(
        config_file=f"configs/{config}.json",
        workflow_type=kind,
        dataset_dir=str(few_films),
        output_dir=str(tmp_path / "out"),
        batch_size=4,
        **small,
        **({"teacher_name": "resnet18"} if (bundle.name, config) == ("eva_x", "train") else {}),
    )
    workflow.initialize()
    assert workflow.check_properties() == []


def test_every_handler_is_a_component(bundle):
    for config in ("train", "inference", "evaluate"):
        content = json.loads((bundle / "configs" / f"{config}.json").read_text())
        handlers = content["train"]["handlers"] if config == "train" else content["handlers"]
        assert all("_target_" in handler for handler in handlers)


def test_train_is_options_and_little_wiring(bundle):
    """Lines and references of the zoo's own configs, and no expression that hides a program."""
    text = (bundle / "configs" / "train.json").read_text()
    lines, references = (200, 90) if _is_fine_tuning(bundle) else (130, 60)
    assert len(text.splitlines()) < lines
    assert text.count("@") < references
    expressions = re.findall(r'"(\$[^"]*)"', text)
    assert expressions
    assert max(map(len, expressions)) <= 60


def test_recipes_name_options(bundle):
    from monai_cxrssl.runs import FineTuningOptions, PretrainingOptions, load_recipes

    recipes = load_recipes(bundle / "configs" / "recipes.json")
    assert set(recipes) == {"full", "short"}
    assert set(recipes["full"]) == set(recipes["short"])
    kind = FineTuningOptions if _is_fine_tuning(bundle) else PretrainingOptions
    config = json.loads((bundle / "configs" / "train.json").read_text())
    for recipe in recipes:
        options = kind.resolved({"recipe": recipe, "output_dir": "o", "model_path": "m"}, recipes)
        # Every option is in the config, for people to see, and nothing there is an option that has no effect.
        internal = {"simclr_share", "learns_labels"}
        assert options.names - internal - {"device", "output_dir", "model_path"} == {
            name for name, value in config.items() if value is None
        }


def test_no_path_of_a_machine(bundle):
    for path in bundle.rglob("*"):
        if path.is_file() and path.suffix in (".json", ".conf", ".md", ".txt") and "runs" not in path.parts:
            text = path.read_text(encoding="utf-8")
            assert "/home/" not in text
            assert "/root/" not in text
