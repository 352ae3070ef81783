# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest

from monai_cxrssl.curricula import Order, expand_orders, shared_stages, stage_plan
from monai_cxrssl.errors import ConfigurationError, OptionError
from monai_cxrssl.runs import PretrainingOptions

KNOWN = ("rotation", "jigsaw", "moco", "simclr")


def options(**given) -> PretrainingOptions:
    base = {"encoder_name": "resnet18", "image_size": 64, "batch_size": 8, "base_learning_rate": 0.1, "max_epochs": 12}
    return PretrainingOptions.resolved({**base, "output_dir": "", "model_path": "", **given}, {"full": {}, "short": {}})


def test_words_become_orders_each_once():
    tasks = ["rotation", "jigsaw", "moco"]
    orders = expand_orders(tasks, ["single", "all", "moco > rotation", "moco>rotation", "difficulty"], KNOWN)
    assert [str(order) for order in orders[:3]] == tasks
    assert len(orders) == 3 + 6 + 1 + 1
    assert (str(orders[3]), orders[3].kind, orders[3].folder) == (
        "rotation > jigsaw > moco", "curriculum", "rotation-jigsaw-moco",
    )  # fmt: skip
    assert orders[-2] == Order(("moco", "rotation"))
    assert (str(orders[-1]), orders[-1].kind, orders[-1].folder) == ("order by difficulty", "curriculum", "difficulty")


@pytest.mark.parametrize(
    ("tasks", "words", "message"),
    [
        (["rotation", "colour"], ["all"], "--tasks names 'colour'; it must be of rotation, jigsaw"),
        (["rotation", "rotation"], ["all"], "--tasks names a task twice"),
        (["rotation"], ["all"], "--orders all needs two tasks or more; --tasks names rotation"),
        (["rotation"], ["greedy"], "--orders greedy needs two"),
        (["rotation", "moco"], ["rotation>colour"], "'rotation>colour' names 'colour'"),
        (["rotation", "moco"], ["moco>moco"], "names a task twice"),
        (["rotation", "moco"], ["al"], "'al' names 'al'"),
        (["rotation", "moco"], ["rotation>"], "names ''"),
    ],
)
def test_orders_that_cannot_be(tasks, words, message):
    with pytest.raises(OptionError, match=message):
        expand_orders(tasks, words, KNOWN)


def test_a_plan_has_the_epochs_of_the_run():
    shares = {"rotation": 1, "jigsaw": 1, "moco": 2}
    assert stage_plan(Order(("moco", "rotation", "jigsaw")), options(shares=shares)) == (
        ("moco", 6), ("rotation", 3), ("jigsaw", 3),
    )  # fmt: skip
    assert stage_plan(Order(("moco",)), options(shares=shares)) == (("moco", 12),)
    assert stage_plan(Order(("moco", "jigsaw"), "greedy"), options()) is None
    assert stage_plan(Order(("jigsaw", "moco")), options(large_dataset_dir="big")) == (
        ("jigsaw_large", 3), ("moco_large", 3), ("jigsaw_target", 3), ("moco_target", 3),
    )  # fmt: skip
    with pytest.raises(ConfigurationError, match="less than one for each of 3 stages"):
        stage_plan(Order(("moco", "rotation", "jigsaw")), options(max_epochs=2))


@pytest.mark.parametrize(
    ("plan", "other", "count"),
    [
        ("a1 b1 c1", "a1 b1 d1", 2),
        ("a1 b1 c1", "a1 c1 b1", 1),
        ("a1 b1", "b1 a1", 0),
        ("a2 b1", "a1 b1", 0),  # other weights already after the first
        ("a1 b1", "a1 b2", 1),
        ("a1", "a1 b1", 1),
    ],
)
def test_what_two_plans_share(plan, other, count):
    one, two = (tuple((stage[0], int(stage[1])) for stage in words.split()) for words in (plan, other))
    assert shared_stages(one, two) == shared_stages(two, one) == count
