# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""``compare`` on a stand-in for the bundles that trains stage by stage; one comparison of two tasks trains truly."""

from __future__ import annotations

import json
import shlex
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from monai_cxrssl.apps.cli.main import main
from monai_cxrssl.label_efficiency import grid
from tests.page_commands import commands_of

# A stage's weights are a number made of the stages before, its name and the seed; a finished stage is not trained
# again. A model's skill is that number, and so is its attention.
STAND_IN = """
import csv, hashlib, json, struct, sys
from pathlib import Path
words = [part for word in sys.argv[1:] for part in (word.split("=", 1) if word.startswith("--") else [word])]
options = {k[2:]: v for k, v in zip(words[::2], words[1::2])}
out = Path(options["output_dir"])
log = Path(options["cache_dir"]).parent / "log.txt"
def note(text):
    with open(log, "a") as stream:
        stream.write(text + "\\n")
def write(path, skill):
    header = json.dumps({"skill": {"dtype": "F64", "shape": [], "data_offsets": [0, 8]}}).encode()
    path.write_bytes(struct.pack("<Q", len(header)) + header + struct.pack("<d", skill))
def read(path):
    return struct.unpack("<d", Path(path).read_bytes()[-8:])[0]
if "tasks" in options:
    tasks, skill = eval(options["tasks"]), 0.2
    if tasks[0] == (log.parent / "fails").read_text():
        print("error: The stand-in was told to fail."); sys.exit(3)
    for place, task in enumerate(tasks, 1):
        stage = out / "stages" / f"{place}_{task}"
        if not (stage / "metrics.json").exists():
            note(f"{out.name}: {task}")
            stage.mkdir(parents=True)
            name = f"{task} {place} {options['seed']} {skill:.6f}"
            write(stage / "encoder.pt", skill + int(hashlib.sha256(name.encode()).hexdigest()[:4], 16) / 16**4)
            (stage / "curves.png").touch()
            (stage / "metrics.json").write_text("{}")
        skill = read(stage / "encoder.pt")
    write(out / "model.pt", skill)
elif "train.json" in options["config_file"]:
    note(f"train {out.parent.name} {options.get('image_size')} {options.get('linear_probe')}")
    write(out / "model.pt", read(options["pretrained"]) if "pretrained" in options else 0.1)
    (out / "predictions.csv").write_text("of the test split")
else:
    note(f"evaluate {out.parent.name}")
    skill, content = read(options["model_path"]), json.loads(Path(options["datalist"]).read_text())
    with open(out / "predictions.csv", "w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["image", "patient_id", "split", "task", "problem", "label:a", "label:b", "p:a", "p:b", "pfs",
                         "lung_area", "pointing", "saliency_iou"])
        for split in ("validation", "test"):
            for item in content[split]:
                noise = int(hashlib.sha256(item["image"].encode()).hexdigest()[:8], 16) / 16**8
                p = min(1, max(0, 0.2 * skill * item["label"] + noise * 0.6))
                writer.writerow([item["image"], item["patient_id"], split, "multi_class", "", 1 - item["label"],
                                 item["label"], 1 - p, p, 0.3 + 0.1 * skill * noise, 0.3, 1, 0.2])
"""


@pytest.fixture
def data(tmp_path, monkeypatch):
    """A data set of 80 patients without a division, and weights from elsewhere."""
    items = [{"image": f"{n}_{k}.png", "patient_id": f"p{n}", "label": n % 2} for n in range(80) for k in range(2)]
    content = {"name": "toy", "classes": ["a", "b"], "task": "multi_class", "training": items}
    (tmp_path / "d.json").write_text(json.dumps(content))
    (tmp_path / "0_0.png").touch()
    (tmp_path / "stand_in.py").write_text(STAND_IN)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "fails").write_text("")
    save_file({"skill": torch.tensor(0.4, dtype=torch.float64)}, tmp_path / "other.pt")
    monkeypatch.setattr(grid, "LAUNCH", (sys.executable, str(tmp_path / "stand_in.py")))
    return tmp_path


def words(folder: Path, *more: str, tasks=("rotation", "jigsaw", "simclr"), epochs: int = 20) -> list[str]:
    return [
        "compare", "--tasks", *tasks, "--datalist", str(folder / "d.json"), "--output_dir", str(folder / "out"),
        "--pretraining", f"max_epochs={epochs}", "image_size=64", "recipe=short", "--fractions", "1", *more,
    ]  # fmt: skip


def ran(folder: Path) -> list[str]:
    path = folder / "out" / "log.txt"
    lines = path.read_text().splitlines() if path.exists() else []
    path.unlink(missing_ok=True)
    return lines


def skill(path: Path) -> bytes:
    return path.read_bytes()[-8:]


def test_orders_share_what_they_begin_with(data, capsys):
    assert main(words(data, "--init", str(data / "other.pt"))) == 0
    lines = ran(data)
    stages = [line for line in lines if ": " in line]
    # Three tasks: 3 + 6 + 6 different beginnings of the six orders, and each task alone with all epochs to itself.
    assert len(stages) == len(set(stages)) == 15 + 3
    told = capsys.readouterr().out
    assert "jigsaw > simclr > rotation: pretrains, the first 1 of 3 stages shared with another order." in told
    content = json.loads((data / "out" / "compare.json").read_text())
    assert [run["shared_stages"] for run in content["pretrainings"]] == [0, 1, 0, 1, 0, 1, 0, 0, 0]
    assert content["pretrainings"][0]["stages"] == [
        {"stage": "rotation", "epochs": 3}, {"stage": "jigsaw", "epochs": 2}, {"stage": "simclr", "epochs": 15},
    ]  # fmt: skip
    assert content["pretrainings"][6]["stages"] == [{"stage": "rotation", "epochs": 20}]
    starts = [row["start"] for row in content["rows"]]
    assert starts[:3] == ["scratch", str(data / "other.pt"), "rotation > jigsaw > simclr"]
    assert len(starts) == 2 + 6 + 3
    assert {line.split()[2] for line in lines if line.startswith("train ")} == {"64"}
    assert len([line for line in lines if line.startswith("evaluate ")]) == len(starts)
    assert all(
        row["macro_auc"]["value"] is not None and row["lung_attention_excess"]["ci_low"] for row in content["rows"]
    )
    assert "has a higher AUC than training from scratch: shown" in told
    assert "| scratch | scratch |" in (data / "out" / "compare.md").read_text()
    assert (data / "out" / "compare.png").read_bytes()[:4] == b"\x89PNG"
    # The same command runs nothing.
    assert main(words(data, "--init", str(data / "other.pt"))) == 0
    assert not ran(data)
    again = json.loads((data / "out" / "compare.json").read_text())
    assert {key: again[key] for key in ("rows", "claims")} == {key: content[key] for key in ("rows", "claims")}
    # Alone, an order ends with the same weights.
    alone = data / "alone"
    alone.mkdir()
    (alone / "fails").write_text("")
    word = words(data, "--orders", "jigsaw>simclr>rotation", "--output_dir", str(alone))
    assert main(word) == 0
    model = Path("pretraining/jigsaw-simclr-rotation/model.pt")
    assert skill(alone / model) == skill(data / "out" / model)


def test_a_stopped_pretraining_goes_on_and_a_failed_one_spares_the_others(data, capsys):
    fails = data / "out" / "fails"
    fails.write_text("jigsaw")
    short = ("--orders", "all", "single", "--probe")
    assert main(words(data, *short, tasks=("rotation", "jigsaw"))) == 1
    told = capsys.readouterr().out
    assert "jigsaw > rotation: failed: The stand-in was told to fail. (see " in told
    assert "failed: jigsaw: The stand-in was told to fail." in told
    content = json.loads((data / "out" / "compare.json").read_text())
    assert [row["start"] for row in content["rows"]] == ["scratch", "rotation > jigsaw", "rotation"]
    assert {line.split()[3] for line in ran(data) if line.startswith("train ")} == {"True"}
    # A stage that was finished before the run was stopped is not trained again.
    folder = data / "out" / "pretraining" / "jigsaw-rotation"
    fails.write_text("")
    whole = json.loads((folder / "begun.json").read_text())
    assert whole["command"][-1] == "--recipe=short"
    finished = data / "out" / "pretraining" / "rotation-jigsaw" / "stages"
    (folder / "stages").mkdir()
    (finished / "1_rotation").rename(folder / "stages" / "1_jigsaw")
    assert main(words(data, *short, tasks=("rotation", "jigsaw"))) == 0
    assert "jigsaw > rotation: goes on." in capsys.readouterr().out
    stages = [line for line in ran(data) if ": " in line]
    assert stages == ["jigsaw-rotation: rotation", "jigsaw: jigsaw"]
    # Other options make another pretraining.
    assert main(words(data, *short, tasks=("rotation", "jigsaw"), epochs=30)) == 0
    assert len([line for line in ran(data) if ": " in line]) == 2 + 2 + 1 + 1


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (("--tasks", "rotation", "colour"), "--tasks names 'colour'; it must be of rotation, jigsaw"),
        (("--orders", "rotation>colour"), "names 'colour'"),
        (("--pretraining", "max_epochs=2"), "--max_epochs is 2, which is less than one for each of 3 stages"),
        (("--pretraining", "max_epoch=2"), "--max_epoch is no option of this bundle. Did you mean --max_epochs?"),
        (("--pretraining", "--max_epochs", "2"), "expected at least one argument"),
        (("--pretraining", "max_epochs"), "--pretraining takes OPTION=VALUE, as max_epochs=20, not 'max_epochs'"),
        (("--pretraining", "tasks=['rotation']"), "--pretraining tasks=... is set by this command"),
        (("--fine_tuning", "pretrained=x.pt"), "--fine_tuning pretrained=... is set by this command"),
        (("--fine_tuning", "layer_decay=2"), "--layer_decay is 2; it must be less than or equal to 1"),
        (("--fractions", "0.1", "2"), "--fractions is 0.1, 2; expected different ones"),
        (("--fractions", "0.001"), "0.001 of which is none"),
        (("--init", "absent.pt"), "--init absent.pt: there is no such file of weights"),
        (("--bundle", "clasification"), "There is no bundle clasification. Did you mean classification?"),
        (("--bundle", "lung_segmentation"), "learns no labels"),
        (("--draws", "0"), "--draws is 0"),
    ],
)
def test_all_is_checked_before_the_first_run(data, more, message, capsys):
    try:
        status = main(words(data, *more))
    except SystemExit as error:
        status = error.code
    assert status == 2
    assert message in capsys.readouterr().err
    assert not ran(data)


def test_data_without_classes_is_refused(data, capsys):
    content = json.loads((data / "d.json").read_text())
    items = [{name: item[name] for name in ("image", "patient_id")} for item in content["training"]]
    (data / "d.json").write_text(json.dumps({"name": "toy", "classes": [], "task": "multi_class", "training": items}))
    assert main(words(data)) == 2
    assert "toy has no classes" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.usefixtures("warm_commands")
def test_the_command_of_the_page_truly_trains(repo, few_films, tmp_path, monkeypatch):
    """Two tasks, one epoch each; the order that is found is that of its own difficulties."""
    (line,) = [line for line in commands_of((repo / "docs/methods/curricular.md").read_text()) if " compare " in line]
    monkeypatch.chdir(repo)
    put = {"DIR": str(few_films), "OUT": str(tmp_path)}
    written = [put.get(word, word) for word in shlex.split(line)[3:]]
    short = ("recipe=short", "image_size=64", "batch_size=8", "num_workers=0")
    more = (
        "--tasks", "rotation", "jigsaw", "--orders", "rotation>jigsaw", "rotation", "difficulty", "--fractions", "1",
        "--draws", "1", "--max_checked", "8", "--pretraining", *short, "encoder_name=resnet18", "max_epochs=2",
        "--fine_tuning", *short[::2], "max_epochs=1", "num_workers=0",
    )  # fmt: skip
    assert main([*written, *more]) == 0
    content = json.loads((tmp_path / "compare.json").read_text())
    assert [row["start"] for row in content["rows"]] == [
        "scratch", "rotation > jigsaw", "rotation", "order by difficulty",
    ]  # fmt: skip
    for row in content["rows"]:
        assert all(row[metric]["value"] is not None for metric in ("macro_auc", "pfs", "lung_area", "pointing"))
    found = json.loads((tmp_path / "pretraining" / "difficulty" / "metrics.json").read_text())
    difficulties = {name: found[f"difficulty_{name}"] for name in ("rotation", "jigsaw")}
    order = sorted(difficulties, key=difficulties.__getitem__)
    assert found["found_order"] == ", ".join(order)
    assert f"The order by difficulty is {' > '.join(order)}." in content["notes"]
    assert (tmp_path / "compare.png").stat().st_size > 10_000
