# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest
from monai.bundle import ConfigParser

from monai_cxrssl.runs.words_as_written import command_words, typed_words, words_as_written

READ = {"dataset_dir": 2023, "seed": 7, "cache_dir": "kept"}


@pytest.mark.parametrize(
    ("words", "typed"),
    [
        (["run", "--a", "1e5", "--b=x=y", "--c", "--d", "-1"], {"a": "1e5", "b": "x=y", "d": "-1"}),
        (["--a", "None", "--b=None", "--c"], {}),
        (["--a", "1", "--a", "2"], {"a": "2"}),
    ],
)
def test_typed_words(words, typed):
    assert typed_words(words) == typed


@pytest.mark.parametrize(
    ("words", "value"), [(["--dataset_dir", "02023"], "02023"), (["--dataset_dir", "['a']"], 2023), ([], 2023)]
)
def test_texts_are_those_of_the_command_line(words, value, monkeypatch):
    monkeypatch.setattr("sys.argv", ["program", *words, "--seed", "8"])
    assert words_as_written(READ, {"dataset_dir"}) == READ | {"dataset_dir": value}


def test_a_command_called_with_words_has_these_for_its_command_line(monkeypatch):
    monkeypatch.setattr("sys.argv", ["program", "--dataset_dir", "of the program"])
    with command_words(["--dataset_dir", "02023"]):
        assert words_as_written(READ, READ)["dataset_dir"] == "02023"
        with command_words([]):
            assert words_as_written(READ, READ) == READ
    assert words_as_written(READ, READ)["dataset_dir"] == "of the program"


@pytest.mark.parametrize("name", ["@films", "$films", "films,old", "1e5"])
def test_a_folder_s_name_is_no_reference_and_no_expression(name, monkeypatch):
    monkeypatch.setattr("sys.argv", ["program", "--dataset_dir", name])
    module = "__import__('monai_cxrssl.runs.evaluated_config', fromlist=['_'])"
    parser = ConfigParser({"dataset_dir": name, "options": f"${module}.take_texts_as_typed(['dataset_dir'])"})
    parser.get_parsed_content("options")
    assert parser.get_parsed_content("dataset_dir") == name
