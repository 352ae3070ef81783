# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Every wrong option of docs/options.md ends in its sentence, before anything is trained."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import sys
from pathlib import Path

import pytest
from fire.parser import DefaultParseValue
from monai.bundle import ConfigWorkflow

from monai_cxrssl.apps import clear_sentence
from monai_cxrssl.apps.cli.main import main
from monai_cxrssl.engines import MethodTrainer
from monai_cxrssl.errors import OptionError

REPO = Path(__file__).parents[2]
ROWS = [
    [cell.strip() for cell in line.strip("|").split(" | ")]
    for line in (REPO / "docs" / "options.md").read_text(encoding="utf-8").splitlines()
    if line.startswith("| `")
]


def test_page_shows_many():
    assert len(ROWS) >= 30
    assert len({options for _, options, _ in ROWS}) == len(ROWS)


@pytest.mark.parametrize(("bundle", "options", "sentence"), ROWS, ids=lambda text: re.sub(r"[^\w=]+", "_", text)[:40])
def test_sentence(bundle, options, sentence, few_films, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(MethodTrainer, "run", lambda self: pytest.fail("it trains"))
    # shlex would take what follows # for a comment.
    name, value = shlex.split(options.strip("`").replace("#", "\0"))
    given = {"dataset_dir": str(few_films), name[2:].replace("\0", "#"): DefaultParseValue(value)}
    config = REPO / "bundles" / bundle.strip("`") / "configs" / "train.json"
    with pytest.raises(Exception) as caught:
        workflow = ConfigWorkflow(str(config), logging_file=False, workflow_type="train", output_dir="out", **given)
        workflow.initialize()
        workflow.run()
    assert clear_sentence(caught.value) == sentence


@pytest.mark.parametrize("config", ["evaluate", "inference"])
@pytest.mark.parametrize("bundle", ["micle", "multitask"])
def test_other_configs(bundle, config, few_films, tmp_path):
    path = REPO / "bundles" / bundle / "configs" / f"{config}.json"
    workflow = ConfigWorkflow(
        str(path), logging_file=False, workflow_type="infer", dataset_dir=str(few_films), batchsize=3
    )  # fmt: skip
    with pytest.raises(Exception) as caught:
        workflow.initialize()
    assert clear_sentence(caught.value) == "--batchsize is no option of this bundle. Did you mean --batch_size?"


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ("--max_epoch 3", "--max_epoch is no option of this bundle. Did you mean --max_epochs?"),
        ("--batch_size big", "--batch_size is 'big'; it must be a valid integer."),
    ],
)
def test_fractions_refuses_them_before_the_first_run(options, sentence, few_films, tmp_path, capsys):
    config = REPO / "bundles" / "classification" / "train.json"
    out = tmp_path / "out"
    words = ["fractions", "--config_file", str(config), "--dataset_dir", str(few_films), "--output_dir", str(out)]
    assert main([*words, "--", *options.split()]) == 2
    assert capsys.readouterr().err.strip() == f"error: {sentence}"
    assert not out.exists()


def test_config_with_an_option_that_nothing_uses(tmp_path):
    from monai_cxrssl.runs import check_options

    folder = tmp_path / "bundle"
    shutil.copytree(REPO / "bundles" / "micle", folder, ignore=shutil.ignore_patterns("*.pt", "runs"))
    check_options(folder / "configs" / "train.json", {})
    config = json.loads((folder / "configs" / "train.json").read_text())
    (folder / "configs" / "train.json").write_text(json.dumps(config | {"max_epoch": 3}))
    with pytest.raises(OptionError, match="--max_epoch is no option"):
        check_options(folder / "configs" / "train.json", {})


def test_an_expression_typed_for_a_wrong_name_is_refused_too(few_films, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["bundle", "run", "--lr", "$0.1 * 2"])
    workflow = ConfigWorkflow(
        str(REPO / "bundles/micle/train.json"), logging_file=False, dataset_dir=str(few_films), lr="$0.1 * 2"
    )  # fmt: skip
    with pytest.raises(RuntimeError) as caught:
        workflow.initialize()
    assert clear_sentence(caught.value) == "--lr is no option of this bundle. Did you mean --base_learning_rate?"


@pytest.mark.parametrize("text", ["2023", "films,old", "1e5", "a#b", "@x"])
@pytest.mark.parametrize("config", ["evaluate", "inference"])
def test_text_arrives_as_written_where_there_are_no_options(config, text, few_films, tmp_path, monkeypatch):
    (tmp_path / text).symlink_to(few_films)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["bundle", "run", "--dataset_dir", text])
    path = REPO / "bundles" / "micle" / "configs" / f"{config}.json"
    workflow = ConfigWorkflow(
        str(path), workflow_type="infer", logging_file=False, output_dir="out", dataset_dir=DefaultParseValue(text)
    )  # fmt: skip
    workflow.initialize()
    assert len(workflow.parser.get_parsed_content("source").all_items()) > 0
