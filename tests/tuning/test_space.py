# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""What --tune means: values around the recipe's, values given, and what is refused."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest

from monai_cxrssl.errors import OptionError
from monai_cxrssl.runs import FineTuningOptions, load_recipes
from monai_cxrssl.tuning import combinations, search_space
from monai_cxrssl.tuning.space import FACTORS, FIXED, VALUES

RECIPES = load_recipes(Path(__file__).parents[2] / "bundles" / "classification" / "configs" / "recipes.json")


def resolved(given, tuned):
    return FineTuningOptions.resolved(
        {"output_dir": "o", "model_path": "m", "recipe": "full", **given, **tuned}, RECIPES
    )


def space(*words, **given):
    resolve = partial(resolved, given)
    return search_space(words, resolve, resolve({}).names)


def test_defaults_are_around_the_recipe():
    assert space("learning_rate weight_decay", learning_rate=0.01, weight_decay=0.1) == {
        "learning_rate": pytest.approx([0.01, 0.001, 0.003, 0.03]),
        "weight_decay": pytest.approx([0.1, 0.01, 1.0]),
    }
    assert space("learning_rate,dropout", learning_rate=0.01) == space("learning_rate", "dropout", learning_rate=0.01)
    assert space("dropout", dropout=0.1) == {"dropout": [0.1, 0.0, 0.2, 0.5]}
    assert space("dropout", dropout=0.2) == {"dropout": [0.2, 0.0, 0.5]}


def test_every_default_can_be():
    names = sorted({*FACTORS, *VALUES})
    assert set(space(*names, weight_decay=0.01, average_momentum=0.9)) == set(names)
    assert FIXED.isdisjoint(names)


def test_values_given():
    assert space("learning_rate=1e-4,3e-4,1e-3 optimizer=sgd,adamw crop_scale=[0.3,1],[0.6,1] balanced=True") == {
        "learning_rate": [1e-4, 3e-4, 1e-3],
        "optimizer": ["sgd", "adamw"],
        "crop_scale": [[0.3, 1.0], [0.6, 1.0]],
        "balanced": [True],
    }


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["learning_rat"], "names 'learning_rat', which is no option of this bundle"),
        (["decoder=Unet,FPN"], "which is no option of this bundle"),  # of a classification
        (["seed=1,2"], "names seed, which is not to be chosen by the validation split"),
        (["learning_rate learning_rate=1"], "names learning_rate twice"),
        (["learning_rate="], "says learning_rate=, without values"),
        (["learning_rate=0"], "--learning_rate is 0; it must be greater than 0"),
        (["optimizer=adem,sgd"], "--optimizer is 'adem'"),
        (["image_size"], "has no values to try of its own .*; give them, as image_size=A,B,C"),
        (["weight_decay"], "names weight_decay, which is 0"),
        ([""], "names no option"),
    ],
)
def test_refused(words, message):
    with pytest.raises(OptionError, match=message):
        space(*words, weight_decay=0)


def test_the_recipe_comes_first_and_draws_are_of_the_seed():
    usual = resolved({"learning_rate": 0.01, "weight_decay": 0.1}, {})
    grid = {"learning_rate": [0.001, 0.01, 0.1], "weight_decay": [0.0, 0.1]}
    every = combinations(grid, usual)
    assert every[0] == {"learning_rate": 0.01, "weight_decay": 0.1}
    assert len(every) == len({tuple(each.values()) for each in every}) == 6
    some = combinations(grid, usual, 3, seed=1)
    assert some[0] == every[0]
    assert some == combinations(grid, usual, 3, seed=1)
    assert all(each in every for each in some)
    assert {str(combinations(grid, usual, 3, seed=seed)) for seed in range(9)} != {str(some)}
