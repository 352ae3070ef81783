# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Options: recipes, defaults, and text as it was typed."""

from __future__ import annotations

import json
import math
import os
import shutil
import sys
from pathlib import Path

import pytest
import torch
from fire.parser import DefaultParseValue
from monai.bundle import ConfigParser, ConfigWorkflow

from monai_cxrssl.errors import ConfigurationError, OptionError
from monai_cxrssl.runs import PretrainingOptions, PretrainingWiring, bundle_root, load_recipes
from monai_cxrssl.runs.words_as_written import typed_words, words_as_written

PLACES = {"output_dir": "out", "model_path": "model.pt"}


@pytest.fixture
def micle(repo):
    return load_recipes(repo / "bundles/micle/configs/recipes.json")


@pytest.fixture
def multitask(repo):
    return load_recipes(repo / "bundles/multitask/configs/recipes.json")


class TestRecipes:
    def test_phantom_without_data(self, micle):
        assert PretrainingOptions.resolved(PLACES, micle).recipe == "short"
        for given in ({"dataset_dir": "d"}, {"datalist": "d.json"}):
            assert PretrainingOptions.resolved({**PLACES, **given}, micle).recipe == "full"

    def test_null_is_the_recipe_and_a_value_goes_before(self, micle):
        options = PretrainingOptions.resolved({**PLACES, "rotation": None, "batch_size": 7}, micle)
        assert (options.rotation, options.batch_size) == (micle["short"]["rotation"], 7)

    def test_path_is_text(self, micle, tmp_path):
        assert PretrainingOptions.resolved({**PLACES, "cache_dir": tmp_path}, micle).cache_dir == str(tmp_path)

    def test_option_of_another_bundle_is_none_of_this(self, micle):
        names = PretrainingOptions.resolved(PLACES, micle).names
        assert "bags_by" in names
        assert "queue_length" not in names

    @pytest.mark.parametrize("recipe", ["full", "short"])
    @pytest.mark.parametrize("task", ["byol", "dino", "mae", "rotation"])
    def test_a_task_alone_has_the_values_of_its_paper(self, repo, recipe, task):
        recipes = load_recipes(repo / "bundles/curricular/configs/recipes.json")

        def values(tasks, **given):
            options = PretrainingOptions.resolved({**PLACES, "recipe": recipe, "tasks": tasks, **given}, recipes)
            return options.model_dump(exclude={"tasks"}), options.tasks

        shared = values(["rotation", "jigsaw"])[0]
        own = recipes[recipe]["alone"].get(task, {})
        for tasks in (task, [task]):
            assert values(tasks) == ({**shared, **own}, [task])
        assert values(f"{task}, simclr") == (shared, [task, "simclr"])
        assert values(task, batch_size=7, optimizer="sgd")[0] == {**shared, **own, "batch_size": 7, "optimizer": "sgd"}

    def test_learning_rate_of_the_batch(self, micle, monkeypatch):
        monkeypatch.setenv("WORLD_SIZE", "2")
        given = {**PLACES, "batch_size": 16, "accumulation_steps": 3, "base_learning_rate": 0.01}
        assert PretrainingOptions.resolved(given, micle).learning_rate == pytest.approx(0.01 * math.sqrt(96), rel=1e-12)

    @pytest.mark.parametrize(("given", "expected"), [({}, (4, 9)), ({"simclr_epochs": 3}, (3, 10))])
    def test_stages(self, micle, given, expected):
        options = PretrainingOptions.resolved({**PLACES, **given}, micle)
        assert options.stage_epochs("micle") == dict(zip(("simclr", "micle"), expected, strict=True))

    def test_second_stage_of_micle_has_a_rate_of_its_own(self, micle):
        """The peak of each stage, as the optimiser sees it: .075 x sqrt(128), then 0.1 at that batch."""
        options = PretrainingOptions.resolved({**PLACES, "recipe": "full"}, micle)
        optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=options.learning_rate)
        schedule = PretrainingWiring(options, "micle").schedule(optimizer, range(10))
        rates = [options.learning_rate * schedule._factor(step) for step in range(2000)]
        assert max(rates[:1000]) == pytest.approx(0.075 * math.sqrt(128))
        assert max(rates[1000:]) == pytest.approx(0.1, abs=1e-4)
        same = PretrainingOptions.resolved({**PLACES, "second_stage_learning_rate": 0.00015}, micle)
        assert PretrainingWiring(same, "micle").schedule(optimizer, range(10)).factors == [1.0, 1.0]

    def test_missing_file(self, tmp_path):
        with pytest.raises(OptionError, match=r"recipes.*cannot be read"):
            load_recipes(tmp_path / "recipes.json")


class TestWords:
    @pytest.mark.parametrize("text", ["2023", "films,old", "1e5", "a#b", "@x", "007", "true", "$HOME", "a: b", "(1)"])
    def test_text_arrives_as_written(self, text, monkeypatch):
        monkeypatch.setattr(sys, "argv", ["monai.bundle", "run", "--dataset_dir", text, f"--cache_dir={text}"])
        read = {"dataset_dir": DefaultParseValue(text), "cache_dir": DefaultParseValue(text), "seed": 3}
        assert words_as_written(read, {"dataset_dir", "cache_dir"}) == {
            "dataset_dir": text,
            "cache_dir": text,
            "seed": 3,
        }

    def test_lists_and_none_stay(self, monkeypatch):
        monkeypatch.setattr(sys, "argv", ["x", "--dataset_dir", "['a','b']", "--cache_dir", "None"])
        read = {"dataset_dir": ["a", "b"], "cache_dir": None}
        assert words_as_written(read, read.keys()) == read

    def test_what_was_not_typed_stays(self, monkeypatch):
        monkeypatch.setattr(sys, "argv", ["x", "--seed", "3"])
        assert words_as_written({"dataset_dir": "a"}, {"dataset_dir"}) == {"dataset_dir": "a"}

    def test_option_without_text(self):
        assert typed_words(["--resume", "--seed", "1", "--amp"]) == {"seed": "1"}


class TestBundleRoot:
    @pytest.mark.parametrize("inside", ["", "configs"])
    @pytest.mark.parametrize("cwd", [".", "my bundle", "my bundle/configs"])
    def test_is_where_the_config_is(self, repo, tmp_path, monkeypatch, inside, cwd):
        home = tmp_path / "my bundle"
        shutil.copytree(repo / "bundles/micle", home, ignore=shutil.ignore_patterns("eval", "*.pt", "runs"))
        monkeypatch.chdir(tmp_path / cwd)
        config = os.path.relpath(home / inside / "train.json")
        for path in (config, str(home / inside / "train.json")):
            workflow = ConfigWorkflow(path, logging_file=False, workflow_type="train", init_id="nothing")
            workflow.initialize()
            assert Path(workflow.bundle_root).samefile(home)
            assert Path(workflow.parser.get_parsed_content("model_path")).parent.samefile(home / "models")

    def test_of_a_bare_parser(self, repo, monkeypatch):
        monkeypatch.chdir(repo)
        parser = ConfigParser(json.loads((repo / "bundles/micle/train.json").read_text()))
        assert parser.get_parsed_content("bundle_root") == "bundles/micle"
        monkeypatch.chdir(repo / "bundles/micle")
        assert bundle_root("bundles/micle") == "."

    def test_options_outside_a_config(self):
        with pytest.raises(ConfigurationError, match="expression of a bundle's config"):
            PretrainingOptions.from_config("bundles/micle")
