# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""``tune`` on a stand-in for training, in a data set whose test images are not there."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from monai.bundle import ConfigParser

from monai_cxrssl.apps.cli.main import main
from monai_cxrssl.data import divided_source, load_datalist
from monai_cxrssl.label_efficiency import grid as fraction_grid

REPO = Path(__file__).parents[4]
TRAIN = REPO / "bundles" / "classification" / "train.json"

#: Best near a rate of 0.003; writes what a paused run leaves.
STAND_IN = """
import json, math, sys
from pathlib import Path
words = sys.argv[1:]
options = {k[2:]: v for k, v in zip(words[::2], words[1::2])}
content = json.loads(Path(options["datalist"]).read_text())
assert not content["test"] and content["training"] and content["validation"]
out, rate, share = Path(options["output_dir"]), float(options["learning_rate"]), float(options["pause_at"])
with open(options["cache_dir"], "a") as log:
    log.write(f"{out.name} {share:.2f} {options['resume']}\\n")
if rate > 1:
    print("error: The loss is nan.")
    sys.exit(1)
if (out.parent / "stop").exists():
    sys.exit(75)
epochs = max(1, math.ceil(9 * share - 1e-9))
value = 1 / (1 + abs(math.log10(rate / 0.003))) - 0.01 * (9 - epochs)
rows = [{"epoch": n + 1, "val_score": value - 0.02 * (epochs - 1 - n)} for n in range(epochs)]
told = {"pause_at": share, "epoch": epochs, "epochs": 9, "metric": "val_score", "best": value, "best_epoch": epochs}
(out / "paused.json").write_text(json.dumps({**told, "validation": rows}))
"""


@pytest.fixture
def search(tmp_path, monkeypatch):
    """Words of a search in a data set whose test images are not there, and its output folder."""
    items = [{"image": f"{n}.png", "patient_id": f"p{n}", "label": n % 2} for n in range(30)]
    content = {"name": "toy", "classes": ["a", "b"], "task": "multi_class"}
    content |= {"training": items[:20], "validation": items[20:26], "test": items[26:]}
    (tmp_path / "d.json").write_text(json.dumps(content))
    (tmp_path / "0.png").touch()
    (tmp_path / "stand_in.py").write_text(STAND_IN)
    monkeypatch.setattr(fraction_grid, "LAUNCH", (sys.executable, str(tmp_path / "stand_in.py")))
    out = tmp_path / "out"
    return [
        "tune", str(TRAIN), "--tune", "learning_rate weight_decay=0.01,0.1", "--output_dir", str(out), "--datalist",
        str(tmp_path / "d.json"), "--recipe", "full", "--cache_dir", str(tmp_path / "log"), "--learning_rate", "0.0005",
        "--weight_decay", "0.01",
    ], out  # fmt: skip


def ran(out):
    path = out.parent / "log"
    lines = path.read_text().splitlines() if path.exists() else []
    path.unlink(missing_ok=True)
    return lines


def test_the_best_is_found_and_told(search, capsys):
    words, out = search
    assert main(words) == 0
    told = capsys.readouterr().out
    assert "8 combinations train on toy: 8 to 33 %, 3 to 100 % of the training." in told
    report = json.loads((out / "tuning.json").read_text())
    assert report["sentence"] in told
    assert report["sentence"].startswith(
        "Of 8 combinations the best val_score on the 6 validation images of 6 patients, 0.769, is that of learning_rate "
        "0.0015, weight_decay 0.01, while the recipe's own (learning_rate 0.0005, weight_decay 0.01) gave 0.562 at 100 % "
    )
    assert report["usual"] == {"learning_rate": 0.0005, "weight_decay": 0.01}
    assert len([line for line in ran(out) if line.endswith("auto")]) == 8 + 3
    table = (out / "tuning.txt").read_text().splitlines()
    assert table[2].split() == ["trial", "learning_rate", "weight_decay", "33", "%", "100", "%", "best", "epoch",
                                "status", "time"]  # fmt: skip
    assert [line.split()[-3] for line in table[3:11]] == ["finished"] * 3 + ["pruned"] * 5
    assert (out / "tuning.png").read_bytes()[:4] == b"\x89PNG"
    assert json.loads((out / "datalist.json").read_text())["test"] == []
    merged = ConfigParser.load_config_files([str(TRAIN), str(out / "best.json")])
    assert (merged["learning_rate"], merged["weight_decay"]) == (pytest.approx(0.0015), 0.01)
    assert merged["dropout"] is None
    # Nothing is run twice.
    assert main(words) == 0
    assert ran(out) == []
    assert json.loads((out / "tuning.json").read_text())["trials"] == report["trials"]


def test_a_stopped_search_goes_on(search, capsys):
    words, out = search
    (out / "trials").mkdir(parents=True)
    (out / "trials" / "stop").touch()
    assert main(words) == 2
    assert "was stopped (status 75)" in capsys.readouterr().err
    (out / "trials" / "stop").unlink()
    assert len(ran(out)) == 1
    assert main(words) == 0
    assert len(ran(out)) == 11
    assert main([*words, "--dropout", "0.5"]) == 2
    assert "is of a search with other options; give the same options" in capsys.readouterr().err


def test_failures_are_told(search, capsys):
    words, out = search
    words[3] = "learning_rate=5,7,0.01"
    assert main(words) == 0
    told = capsys.readouterr().out
    assert "trial 0: The loss is nan." in told
    assert "the recipe's own values were not among them" in told
    words[3], words[5] = "learning_rate=5,7", str(out.parent / "other")
    assert main(words) == 1
    assert "None of the 2 combinations gave a val_score" in capsys.readouterr().out
    assert not (out.parent / "other" / "best.json").exists()


@pytest.mark.parametrize(
    ("bundle", "options", "message"),
    [
        ("micle", [], "is no fine-tuning: only that has a validation split"),
        ("nowhere.json", [], "nowhere.json does not exist"),
        ("classification", ["--resume", "auto"], "--resume is set by this command for every run"),
        ("classification", ["--max_trials", "0"], "--max_trials is 0; expected 1 or more"),
        ("classification", ["--batch_siz", "3"], "Did you mean --batch_size?"),
        ("classification", ["--best_metric", "val_acc"], "--best_metric is 'val_acc'; it must be one of"),
    ],
)
def test_refused(bundle, options, message, search, capsys):
    words, _ = search
    words[1] = bundle
    assert main([*words, *options]) == 2
    assert message in capsys.readouterr().err


def test_patients_of_the_test_to_come_are_in_no_trial(search):
    """Without a test split of its own, a data set is divided as the training with the best options will divide it."""
    words, out = search
    path = out.parent / "d.json"
    content = json.loads(path.read_text())
    content["training"] += content.pop("test")
    path.write_text(json.dumps(content))
    assert main([*words, "--max_trials", "1"]) == 0
    searched = json.loads((out / "datalist.json").read_text())
    kept = {item["patient_id"] for item in searched["training"]}
    divided = divided_source(load_datalist(path))
    assert kept == {item["patient_id"] for item in divided.splits["training"]}
    assert len(kept) < len(content["training"])
    assert searched["test"] == []
