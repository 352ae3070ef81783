# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""The commands train, evaluate and predict: which config they run, with which words, and what their help says."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from monai_cxrssl.apps.cli.bundles.command import find_config
from monai_cxrssl.apps.cli.bundles.config_run import read_value
from monai_cxrssl.apps.cli.bundles.option_help import bundle_options
from monai_cxrssl.apps.cli.main import main

BUNDLES = Path(__file__).parents[3] / "bundles"
NAMES = sorted(path.parents[1].name for path in BUNDLES.glob("*/configs/train.json"))
CONFIGS = {"train": "train", "evaluate": "evaluate", "predict": "inference"}
#: A bundle that prints one of its options.
PRINTS = {"dataset_dir": None, "splits": [], "run": ["$print('took', repr(@dataset_dir), repr(@splits))"]}


def bundle_of(folder: Path, **configs: object) -> Path:
    """Return a bundle's folder with these configs."""
    (folder / "configs").mkdir(parents=True)
    for name, content in configs.items():
        (folder / "configs" / f"{name}.json").write_text(json.dumps(content))
    return folder


@pytest.fixture
def copied(tmp_path) -> Path:
    """A bundle of the repository, copied and renamed, in a folder with spaces."""
    ignored = shutil.ignore_patterns("runs", "*.pt", "model.*")
    return shutil.copytree(BUNDLES / "micle", tmp_path / "any where" / "our images", ignore=ignored)


def tree(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*")}


def help_of(capsys, *words: str) -> str:
    assert main([*words, "--help"]) == 0
    return capsys.readouterr().out


@pytest.mark.parametrize("name", NAMES)
def test_help_of_train_has_each_option_with_the_default_of_each_recipe(name):
    config_file = BUNDLES / name / "configs" / "train.json"
    options, recipes = bundle_options(config_file)
    assert recipes == ["short", "full"]
    by_name = {option.name: option for option in options}
    assert len(by_name) == len(options)
    config = json.loads(config_file.read_text())
    written = {
        recipe: {key: value for key, value in values.items() if key[0] != "_" and key != "alone"}
        for recipe, values in json.loads(config_file.with_name("recipes.json").read_text()).items()
    }
    declared = {key for key, value in config.items() if value is None}
    assert by_name.keys() >= declared | written["short"].keys() | written["full"].keys()
    assert all(option.meaning and option.default for option in options)
    for key in written["short"].keys() & written["full"].keys():
        values = [written[recipe][key] for recipe in recipes]
        # A recipe's 10 for a float is shown as 10.0.
        shown = [text if text == "none" else read_value(text) for text in by_name[key].default.split(" / ")]
        expected = ["none" if value is None else value for value in values]
        assert shown == (expected if expected[0] != expected[1] else expected[:1]), key


def test_help_says_what_only_pretrained_weights_change():
    by_name = {option.name: option for option in bundle_options(BUNDLES / "multitask" / "configs" / "train.json")[0]}
    assert by_name["learning_rate"].default == "0.0003 from pretrained weights, else 0.001"
    assert by_name["linear_probe_first"].default == "0.2 from pretrained weights, else 0.0"
    assert by_name["label_loss"].values == "cross_entropy|focal|auc_margin"
    assert by_name["device"].default == "the first GPU, else cpu"
    assert by_name["recipe"].default == "full with data, else short"


@pytest.mark.parametrize("config", ["evaluate", "inference"])
@pytest.mark.parametrize("name", NAMES)
def test_help_of_evaluate_and_predict_has_the_plain_options_of_the_config(name, config):
    config_file = BUNDLES / name / "configs" / f"{config}.json"
    content = json.loads(config_file.read_text())
    options, recipes = bundle_options(config_file)
    assert recipes == []
    assert all(option.meaning for option in options), "give it a meaning in option_help.py"
    by_name = {option.name: option for option in options}
    assert by_name.keys() <= content.keys()
    plain = {
        key: value
        for key, value in content.items()
        if not isinstance(value, dict) and not any(text in json.dumps(value) for text in ('"$', '"@', '"_target_'))
    }
    assert by_name.keys() >= plain.keys()
    assert {key: by_name[key].default for key in plain} == {
        key: "none" if value is None else str(value) for key, value in plain.items()
    }
    assert by_name["output_dir"].default == str(BUNDLES / name / "runs" / "TIME_NAME")
    assert not any("$" in option.default for option in options)


def test_help_is_aligned_and_wrapped(capsys, monkeypatch):
    monkeypatch.chdir(BUNDLES.parent)
    monkeypatch.setenv("COLUMNS", "80")
    lines = help_of(capsys, "train", "micle").splitlines()
    assert "usage: python -m monai_cxrssl train micle [DIR ...] [--strict] [--OPTION VALUE]" in lines
    assert max(map(len, lines)) <= 80
    (row,) = (line for line in lines if line.lstrip().startswith("--image_size"))
    assert row == "  --image_size VALUE          side of the network's input, pixels (default: 64"
    assert lines[lines.index(row) + 1] == " " * 30 + "/ 224)"
    monkeypatch.setenv("COLUMNS", "140")
    assert f"{row} / 224)" in help_of(capsys, "train", "micle").splitlines()


@pytest.mark.parametrize("command", CONFIGS)
def test_help_neither_runs_nor_writes(copied, command, capsys, monkeypatch):
    monkeypatch.setattr("monai.bundle.run", None)
    before = tree(copied)
    text = help_of(capsys, command, str(copied))
    assert "--dataset_dir" in text
    assert tree(copied) == before


def test_help_without_a_bundle_lists_those_found(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = help_of(capsys, "train")
    assert all(f"  {name} " in text for name in NAMES)
    assert "Chest X-ray pretraining by MICLe" in text
    bundle_of(tmp_path / "bundles" / "ours", train={}, metadata={"name": "100% ours"})
    bundle_of(tmp_path / "bundles" / "nameless", train={})
    (tmp_path / "bundles" / "nameless" / "configs" / "metadata.json").write_text("{")
    text = help_of(capsys, "train")
    assert "nameless" in text
    assert "100% ours" in text
    assert "micle" not in text.partition("bundles in")[2]
    assert "ours" not in help_of(capsys, "predict")


def test_a_bundle_is_found_by_name_or_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert find_config("micle", "inference") == BUNDLES / "micle" / "configs" / "inference.json"
    bundle_of(tmp_path / "bundles" / "micle", train={})
    bundle_of(tmp_path / "micle", train={})
    bundle_of(tmp_path / "my images, 2", train={})
    assert find_config("micle", "train") == Path("bundles/micle/configs/train.json")
    assert find_config("./micle", "train") == Path("micle/configs/train.json")
    assert find_config("my images, 2", "train") == Path("my images, 2/configs/train.json")
    assert find_config(str(tmp_path / "micle"), "train") == tmp_path / "micle" / "configs" / "train.json"
    monkeypatch.chdir(tmp_path / "micle")
    assert find_config(".", "train") == Path("configs/train.json")
    monkeypatch.chdir(tmp_path / "micle" / "configs")
    assert find_config("..", "train") == Path("../configs/train.json")


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["train"], "The first word after train names a bundle, as in train micle --recipe short. Bundles: "),
        (["train", "--recipe", "short", "micle"], "The first word after train names a bundle"),
        (["train", "micel"], "There is no bundle micel. Did you mean micle?"),
        (["predict", "nowhere/at/all"], "There is no bundle nowhere/at/all. Bundles: "),
        (["evaluate", "half"], "The bundle half has no configs/evaluate.json."),
        (["train", "broken", "--help"], "broken/configs/train.json cannot be read as a JSON object: "),
        (["train", "half", "again"], "There is no folder again; words behind the bundle's name are folders of images"),
        (["train", "half", "--recipe", "short", "again"], "'again' is no override; expected --id VALUE."),
        (
            ["train", "half", "--config_file", "other.json"],
            "--config_file is half/configs/train.json here; for another",
        ),
    ],
)
def test_wrong_use_is_one_sentence(words, sentence, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    bundle_of(tmp_path / "half", train={})
    (bundle_of(tmp_path / "broken") / "configs" / "train.json").write_text("[1]")
    assert main(words) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"error: {sentence}")
    assert error.count("\n") == 1


@pytest.mark.parametrize("strict", [(), ("--strict",)])
@pytest.mark.parametrize(
    "text", ["2023", "films,old", "1e5", "a#b", "@x", "@#x", "$HOME", "%z", "a b", "True", r"\@'\""]
)
def test_texts_arrive_as_written(text, strict, tmp_path, capsys, monkeypatch):
    config = PRINTS
    if strict:
        # Where nothing may be printed, the run goes on or ends by an index.
        expected = repr(text).replace("@", r"\x40").replace("#", r"\x23")
        config = {"dataset_dir": None, "run": [f"$[0][@dataset_dir != {expected}]"]}
    bundle = bundle_of(tmp_path / "b", evaluate=config, metadata={})
    # A program that calls the command may have options of its own.
    monkeypatch.setattr("sys.argv", ["program", "--dataset_dir", "elsewhere"])
    assert main(["evaluate", str(bundle), *strict, "--dataset_dir", text]) == 0
    assert main(["evaluate", str(bundle), f"--dataset_dir={text}", *strict]) == 0
    if not strict:
        assert capsys.readouterr().out.count(f"took {text!r} []") == 2


def test_other_words_are_read_as_monai_reads_them(tmp_path, capsys):
    bundle = bundle_of(tmp_path / "b", inference=PRINTS, metadata={})
    words = ["--dataset_dir", "['a','@b']", "--splits", "['test']"]
    assert main(["predict", str(bundle), *words]) == 0
    assert "took ['a', '@b'] ['test']" in capsys.readouterr().out
    assert main(["predict", str(bundle), "--dataset_dir", "None", "--splits=2"]) == 0
    assert "took None 2" in capsys.readouterr().out


def test_the_options_of_a_run_are_the_commands_not_the_programs(copied, tmp_path, warm_python):
    """A script with an option of the same name calls the command with a list of words."""
    script = tmp_path / "script.py"
    script.write_text(
        "import sys\nfrom monai_cxrssl.apps.cli.main import main\n"
        f"sys.exit(main(['train', {str(copied)!r}, '--dataset_dir', '2023', '--encoder_name', 'resnet18']))\n"
    )
    result = warm_python.run([script, "--dataset_dir", "elsewhere"], tmp_path)
    assert result.returncode == 2
    assert result.stderr.splitlines()[-1] == "error: dataset_dir 2023 does not exist; expected a folder of images."


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("train", "--max_epoch", "3"), "--max_epoch is no option of this bundle. Did you mean --max_epochs?"),
        (("train", "--strict", "--lr", "1"), "--lr is no option of this bundle. Did you mean --base_learning_rate?"),
        (("train", "--batch_size", "0"), "--batch_size is 0; "),
        (("evaluate", "--data_dir", "X"), "--data_dir is no option of this bundle. Did you mean --dataset_dir?"),
        (("predict", "--pretrained", "@w.pt"), "--pretrained is no option of this bundle. "),
    ],
)
def test_what_is_no_option_ends_with_status_2(words, sentence, copied, tmp_path, warm_python):
    before = tree(copied)
    command, *options = words
    result = warm_python.run(["-m", "monai_cxrssl", command, copied, *options], tmp_path)
    assert result.returncode == 2
    assert result.stderr.splitlines()[-1].startswith(f"error: {sentence}")
    assert "Traceback" not in result.stderr
    assert tree(copied) == before


def test_train_evaluate_predict(copied, phantom_dir, tmp_path, warm_python):
    """The three commands one after another on a bundle elsewhere, which stays the only folder that is written."""
    here = tmp_path / "working"
    here.mkdir()
    common = ["--dataset_dir", phantom_dir, "--num_workers", "0", "--batch_size", "8"]
    words = {
        "train": ["--recipe", "short", "--image_size", "32", "--max_epochs", "1"],
        "evaluate": ["--splits", "['validation','test']"],
        "predict": ["--output_dir", tmp_path / "out"],
    }
    for command, options in words.items():
        result = warm_python.run(["-m", "monai_cxrssl", command, copied, *common, *options], here)
        assert result.returncode == 0, result.stderr[-3000:]
    assert json.loads((copied / "models" / "model.json").read_text())["image_size"] == 32
    assert len(list((copied / "runs").glob("*/probe.json"))) == 1
    assert (tmp_path / "out" / "embeddings.csv").is_file()
    assert tree(here) == set()
