# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""``fractions`` on a stand-in for a bundle that knows the labels, more or less; one grid runs through MONAI itself."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from monai_cxrssl.apps.cli.main import main
from monai_cxrssl.label_efficiency import grid as fraction_grid

# Needs no torch, so that a cell takes a tenth of a second. What it predicts depends on subset, seed and weights only.
STAND_IN = """
import csv, hashlib, json, os, struct, sys, time
from pathlib import Path
words = sys.argv[1:]
options = {k[2:]: v for k, v in zip(words[::2], words[1::2])}
content = json.loads(Path(options["datalist"]).read_text())
out = Path(options["output_dir"])
assert not (out / "predictions.csv").exists()
with open(options["log"], "a") as log:
    log.write(out.parent.name + "/" + out.name + " " + options["seed"] + "\\n")
if options.get("fails") == out.parent.name:
    print("some progress\\nTraceback (most recent call last):\\nerror: The stand-in was told to fail.")
    print("a last word")
    sys.exit(3)
if "sleep" in options:
    time.sleep(float(options["sleep"]))
skill = struct.unpack("<d", Path(options["pretrained"]).read_bytes()[-8:])[0] if "pretrained" in options else 0.3
skill += 0.1 * len(content["training"]) ** 0.5
classes = content["classes"]
with open(out / "predictions.csv", "w", newline="") as stream:
    writer = csv.writer(stream)
    writer.writerow(["image", "patient_id", "split", "task", "problem", *("label:" + c for c in classes),
                     *("p:" + c for c in classes), "dice"])
    for item in content["test"]:
        row, noise = [int(item["label"] == c) for c in range(len(classes))], []
        for c in range(len(classes)):
            key = f"{options['seed']} {item['image']} {c}".encode()
            noise.append(int(hashlib.sha256(key).hexdigest()[:8], 16) / 16**8)
        p = [min(1, (skill * r + n * 2) / (2 + skill)) for r, n in zip(row, noise)]
        place = os.path.join(os.path.dirname(options["datalist"]), item["image"])
        writer.writerow([place, item["patient_id"], "test", "multi_class", "", *row,
                         *(f"{v:.9g}" for v in p), f"{p[0]:.9g}"])
(out / "model.pt").write_text("weights")
(out / "checkpoints").mkdir()
(out / "checkpoints" / "best.pt").write_text("weights")
"""


def save_skill(path: Path, skill: float) -> None:
    """Weights whose last eight bytes are a number."""
    save_file({"skill": torch.tensor(skill, dtype=torch.float64)}, path)


@pytest.fixture
def grid(tmp_path, monkeypatch):
    """A data set of 60 patients with two images each and no split; weights; a config; and the command's words."""
    items = [
        {"image": f"{n}_{k}.png", "patient_id": f"p{n}", "label": n % 3, "view_position": "PA"}
        for n in range(60)
        for k in range(2)
    ]
    content = {"name": "toy", "classes": ["a", "b", "c"], "task": "multi_class", "training": items}
    (tmp_path / "d.json").write_text(json.dumps(content))
    (tmp_path / "0_0.png").touch()
    (tmp_path / "stand_in.py").write_text(STAND_IN)
    (tmp_path / "train.json").write_text('{"run": []}')
    for name in ("micle", "other"):
        (tmp_path / name / "models").mkdir(parents=True)
        save_skill(tmp_path / name / "models" / "model.pt", 0.9 if name == "micle" else 0.5)
    monkeypatch.setattr(fraction_grid, "LAUNCH", (sys.executable, str(tmp_path / "stand_in.py")))
    return tmp_path


def words(folder, out="out", init=("random", "micle"), fractions=(0.1, 1), draws=2, options=(), extra=()):
    inits = [name if name == "random" else str(folder / name / "models" / "model.pt") for name in init]
    return [
        "fractions", "--config_file", str(folder / "train.json"), "--datalist", str(folder / "d.json"), "--no_baselines",
        "--fractions", *map(str, fractions), "--init", *inits, "--draws", str(draws),
        "--output_dir", str(folder / out), *extra, "--", "--log", str(folder / f"{out}.log"), *options,
    ]  # fmt: skip


def folder_of(folder):
    return f"finetune/{folder.name}/recipe"


def ran(folder, out="out"):
    path = folder / f"{out}.log"
    lines = path.read_text().splitlines() if path.exists() else []
    path.unlink(missing_ok=True)
    return lines


def figures(folder, out="out"):
    content = json.loads((folder / out / "fractions.json").read_text())
    return {**content["metrics"]["macro_auc"], "subsets": content["subsets"], "data": content["data"]}


def test_grid_of_nested_subsets_and_its_report(grid, capsys):
    assert main(words(grid)) == 0
    told = capsys.readouterr().out
    assert "8 cells: 0 finished, 8 left to run" in told
    assert "the 7 left will take about" in told
    assert "micle - random" in told
    assert sorted(ran(grid)) == sorted(
        f"{init}/{f}_draw{d} {d}" for init in ("random", "micle") for f in ("0.1", "1") for d in (0, 1)
    )
    out = grid / "out"
    whole = json.loads((out / "datalist.json").read_text())
    patients = {split: {item["patient_id"] for item in whole[split]} for split in ("training", "validation", "test")}
    assert all(patients.values())
    assert sum(map(len, patients.values())) == len(set.union(*patients.values())) == 60
    subsets = {p.stem: json.loads(p.read_text()) for p in (out / "subsets").iterdir()}
    kept = {name: {item["patient_id"] for item in content["training"]} for name, content in subsets.items()}
    assert kept["1_draw0"] == kept["1_draw1"] == patients["training"]
    assert len(kept["0.1_draw0"]) == round(0.1 * len(patients["training"]))
    assert kept["0.1_draw0"] != kept["0.1_draw1"]
    assert all(len(content["test"]) == len(whole["test"]) for content in subsets.values())
    content = json.loads((out / "fractions.json").read_text())
    assert content["subsets"][1]["sha256"] == content["subsets"][3]["sha256"]
    cell = content["cells"][1]
    assert (cell["row"], cell["status"]) == ("micle", "finished")
    command = " ".join(cell["command"])
    for part in (f"--pretrained {grid}/micle/models/model.pt", "--seed 0", f"--cache_dir {out}/cache", "--model_path"):
        assert part in command
    assert "--pretrained" not in " ".join(content["cells"][0]["command"])
    assert [row["value"] > 0 for row in content["metrics"]["macro_auc"]["differences"]] == [True, True]
    assert "| micle |" in (out / "fractions.md").read_text()
    assert (out / "fractions.png").read_bytes()[:4] == b"\x89PNG"
    # Nothing is run twice; only what a change concerns is run again.
    before = figures(grid)
    assert main(words(grid)) == 0
    assert not ran(grid)
    assert figures(grid) == before
    # Words about the weights are not the weights.
    (grid / "micle" / "models" / "model.json").write_text('{"encoder_name": "resnet18"}')
    assert main(words(grid)) == 0
    assert not ran(grid)
    save_skill(grid / "micle" / "models" / "model.pt", 0.8)
    (out / "cells" / folder_of(grid) / "random" / "1_draw0" / "predictions.csv").write_text("cut off")
    capsys.readouterr()
    assert main(words(grid, draws=1)) == 0
    assert ran(grid) == ["micle/0.1_draw0 0", "random/1_draw0 0", "micle/1_draw0 0"]
    assert capsys.readouterr().out.count("it is run anew") == 3
    assert main(words(grid, init=("random",), draws=3)) == 0
    assert ran(grid) == ["random/0.1_draw2 2", "random/1_draw2 2"]


def test_a_failed_cell_does_not_stop_the_others(grid, capsys):
    assert main(words(grid, options=["--fails", "micle"])) == 1
    told = capsys.readouterr().out
    assert "micle, 10 %, draw 0: failed: The stand-in was told to fail. (see " in told
    assert str(grid / "out" / "cells" / folder_of(grid) / "micle" / "0.1_draw0" / "output.txt") in told
    assert len(ran(grid)) == 8
    table = [line for line in told.splitlines() if line.startswith("micle  ")]
    assert table[0].split()[1:] == ["failed", "failed"]
    assert "4 of 8 cells have no result" in (grid / "out" / "fractions.md").read_text()
    assert (grid / "out" / "fractions.png").stat().st_size > 5000


@pytest.mark.slow
def test_killed_and_run_again_gives_the_same(grid):
    assert main(words(grid, out="whole")) == 0
    driver = grid / "driver.py"
    driver.write_text(
        "import sys\nfrom monai_cxrssl.label_efficiency import grid as fraction_grid\nfrom monai_cxrssl.apps.cli.main import main\n"
        f"fraction_grid.LAUNCH = {fraction_grid.LAUNCH!r}\nsys.exit(main(sys.argv[1:]))\n"
    )
    arguments = words(grid, options=["--sleep", "0.3"])
    process = subprocess.Popen([sys.executable, str(driver), *arguments], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # fmt: skip
    cells = grid / "out" / "cells"
    until = time.monotonic() + 60
    while len(list(cells.rglob("done.json"))) < 3 or len(list(cells.rglob("output.txt"))) < 4:
        assert time.monotonic() < until
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    finished = {str(path.parent.relative_to(cells)) for path in cells.rglob("done.json")}
    assert 3 <= len(finished) < 8
    times = {path: path.stat().st_mtime_ns for path in cells.rglob("predictions.csv") if (path.parent / "done.json").exists()}  # fmt: skip
    ran(grid)
    assert main(arguments) == 0
    again = {line.split()[0] for line in ran(grid)}
    assert not again & finished
    assert len(again | finished) == 8
    assert all(path.stat().st_mtime_ns == time for path, time in times.items())
    assert figures(grid) == figures(grid, "whole")
    assert list(cells.rglob("model.pt"))
    assert not list(cells.rglob("checkpoints"))


def test_interrupted_by_the_keyboard(grid, capsys, monkeypatch):
    def press(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(fraction_grid, "run_command", press)
    assert main(words(grid)) == 130
    assert "The same command goes on" in capsys.readouterr().out
    assert not list((grid / "out").rglob("done.json"))


def test_two_weights_of_one_name_and_a_second_grid(grid, capsys, monkeypatch):
    (grid / "b" / "micle").mkdir(parents=True)
    save_skill(grid / "b" / "micle" / "model.pt", 0.7)
    start = words(grid, fractions=(1,), draws=1)
    start.insert(start.index("--draws"), str(grid / "b" / "micle" / "model.pt"))
    assert main(start) == 0
    assert [row["name"] for row in json.loads((grid / "out" / "fractions.json").read_text())["settings"]["rows"]] == [
        "random",
        "micle",
        "b_micle",
    ]
    monkeypatch.setattr(fraction_grid, "_LOCK_PATIENCE", 0.0)
    with fraction_grid.grid_lock(grid / "out"):
        assert main(start) == 2
    assert "Another run of this command" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"fractions": (0, 1)}, "more than 0 and at most 1"),
        ({"fractions": (0.1, 0.10)}, "names 0.1 twice"),
        ({"fractions": (0.001,)}, "holds no patient; expected 0.0"),
        ({"draws": 0}, "--draws is 0"),
        ({"init": ("random", "absent")}, "there is no such file of weights"),
        ({"init": ("micle", "micle")}, "twice; give each initialisation once"),
        ({"extra": ["--config_file", "absent.json"]}, "--config_file absent.json does not exist"),
        ({"options": ["--findings", "a,e"]}, "--findings names 'e', which toy does not label"),
        ({"options": ["--findings", ""]}, "--findings is ''; expected at least one name of a finding"),
        ({"options": ["--collapse", "absent"]}, "There is no label map absent"),
        ({"options": ["--seed", "3"]}, "--seed after -- is set by this command"),
        ({"extra": ["--metrics", "dice"]}, "has a known mask, which dice needs"),
    ],
)
def test_all_is_checked_before_the_first_cell(grid, change, message, capsys):
    assert main(words(grid, **change)) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.startswith("error: ")
    assert error.count("\n") == 1
    assert not ran(grid)


@pytest.mark.parametrize(
    ("options", "classes", "kept"),
    [
        (["--findings", "c,a"], ["c", "a"], {0: 1, 2: 0}),
        (["--findings", "['c','a']"], ["c", "a"], {0: 1, 2: 0}),
        (["--collapse", "map.json"], ["well", "ill"], {0: 0, 1: 1, 2: 1}),
        (["--collapse", "map.json", "--findings", "ill,well"], ["ill", "well"], {0: 1, 1: 0, 2: 0}),
    ],
)
def test_classes_are_those_that_the_runs_learn(grid, options, classes, kept):
    """The data are divided and scored by the labels that the bundle's options make of them."""
    (grid / "map.json").write_text(
        json.dumps({"classes": ["well", "ill"], "map": {"a": "well", "b": "ill", "c": "ill"}})
    )
    options = [str(grid / word) if word == "map.json" else word for word in options]
    assert main(words(grid, init=("random",), fractions=(1,), draws=1, options=options)) == 0
    cell = json.loads((grid / "out" / "fractions.json").read_text())["cells"][0]
    assert cell["command"][-len(options) :] == options
    for path in (grid / "out" / "datalist.json", grid / "out" / "subsets" / "1_draw0.json"):
        content = json.loads(path.read_text())
        assert content["classes"] == classes
        items = [item for split in ("training", "validation", "test") for item in content[split]]
        assert len(items) == 40 * len(kept)
        for item in items:
            assert item["label"] == kept[int(Path(item["image"]).stem.split("_")[0]) % 3]
    assert sorted(figures(grid)["figures"][0]["per_class"]) == sorted(classes)


def test_data_without_labels_is_refused(grid, capsys):
    content = json.loads((grid / "d.json").read_text())
    content["training"] = [{**item, "label": None} for item in content["training"]]
    (grid / "d.json").write_text(json.dumps(content))
    assert main(words(grid)) == 2
    assert "No image of toy has a known label" in capsys.readouterr().err


def test_through_monai(grid, monkeypatch):
    """The words of the command are those of MONAI's bundle runner, and its typed options arrive."""
    monkeypatch.undo()
    config = {
        "imports": ["$import subprocess", "$import sys"],
        "datalist": None, "output_dir": None, "model_path": None, "seed": 0, "cache_dir": None, "pretrained": None,
        "log": None, "max_epochs": 1,
        "command": ["$sys.executable", str(grid / "stand_in.py"), "--datalist", "@datalist", "--output_dir",
                    "@output_dir", "--seed", "$str(@seed + @max_epochs - 7)", "--log", "@log"],
        "run": ["$subprocess.run(@command, check=True)"],
    }  # fmt: skip
    (grid / "train.json").write_text(json.dumps(config))
    assert main(words(grid, init=("random",), fractions=(1,), draws=1, options=["--max_epochs", "7"])) == 0
    assert ran(grid) == ["random/1_draw0 0"]
    assert np.isfinite(figures(grid)["figures"][0]["value"])
    assert Path(grid / "out" / "cells" / folder_of(grid) / "random" / "1_draw0" / "command.txt").read_text().split()[
        1:4
    ] == [
        "-m",
        "monai.bundle",
        "run",
    ]
