# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Commands of the reproduction pages: each is taken as written, up to where it would train; two pages are run in small."""

from __future__ import annotations

import json
import shlex
import shutil
from pathlib import Path

import pytest
import torch

from monai_cxrssl.apps.cli import main as cli
from monai_cxrssl.apps.cli.bundles import command
from monai_cxrssl.apps.cli.comparisons import tune
from monai_cxrssl.curricula import study as orders
from monai_cxrssl.label_efficiency import study as grids
from monai_cxrssl.runs import check_options
from tests.data.sources.layouts.test_chexpert import write as write_chexpert
from tests.page_commands import TINY, commands_of, run

REPO = Path(__file__).parents[2]
PAGES = sorted(path.stem for path in (REPO / "docs" / "reproductions").glob("*.md") if path.stem != "index")
COMMANDS = {page: commands_of((REPO / f"docs/reproductions/{page}.md").read_text(encoding="utf-8")) for page in PAGES}

FINDINGS = ["Atelectasis", "Cardiomegaly", "Consolidation", "Edema", "Pleural Effusion", "Pneumonia", "No Finding"]
TB = ["No Finding", "Active Tuberculosis", "Latent Tuberculosis", "Tuberculosis"]
COVID = ["No Finding", "Pneumonia", "COVID-19"]
SIIM = ["Negative for Pneumonia", "Typical Appearance", "Indeterminate Appearance", "Atypical Appearance"]
#: The data sets of the pages: what they are called, their classes, and what else an image has.
SETS = {
    "CheXpert": ("CheXpert", FINDINGS, {}), "ChestX-ray14": ("ChestX-ray14", FINDINGS, {}),
    "MIMIC-CXR-JPG": ("MIMIC-CXR-JPG", FINDINGS, {}), "VinDr-CXR": ("VinDr-CXR", FINDINGS, {}),
    "TBX11K": ("TBX11K", TB, {}), "CHILDREN": ("children", TB, {}),
    "COVID-QU-Ex": ("COVID-QU-Ex", COVID, {"lung_mask": "mask.png"}), "COVIDx": ("COVIDx", COVID, {}),
    "RSNA": ("RSNA Pneumonia", ["No Finding", "No Lung Opacity / Not Normal", "Lung Opacity"], {}),
    "kermany-pediatric": ("Kermany", ["No Finding", "Bacterial Pneumonia", "Viral Pneumonia"], {}),
    "SIIM-COVID": ("SIIM-FISABIO-RSNA COVID-19", SIIM, {"boxes": [[1, 1, 4, 4]], "boxes_shape": [8, 8]}),
    "OTHER": ("elsewhere", SIIM, {}), "Shenzhen": ("Shenzhen", ["No Tuberculosis", "Tuberculosis"], {"lung_mask": "mask.png"}),
}  # fmt: skip
MULTI_LABEL = (FINDINGS, TB)
#: The encoder of the weights that a page makes or names.
ENCODERS = {"fine_grained_covid": "densenet121"} | dict.fromkeys(
    ("spcxr", "eva_x", "paediatric_tb"), "tu-vit_small_patch16_224"
)


def write_set(folder, name, classes, extra):
    """A datalist of 120 patients of whom nobody looks at the images."""
    folder.mkdir()
    items = []
    for patient in range(120):
        kind = patient % len(classes)
        label = [int(kind == number) for number in range(len(classes))] if classes in MULTI_LABEL else kind
        items.append({"image": f"{patient}.png", "patient_id": f"{name} {patient}", "label": label, **extra})
        (folder / f"{patient}.png").touch()
    (folder / "mask.png").touch()
    task = "multi_label" if classes in MULTI_LABEL else "multi_class"
    content = {"name": name, "classes": classes, "task": task, "training": items}
    (folder / "datalist.json").write_text(json.dumps(content))


def weights_of(page):
    """Files of weights that the commands of a page write or name."""
    words = [
        part for line in COMMANDS[page] for word in shlex.split(line) for part in word.replace("=", ",").split(",")
    ]
    names = {word.replace("$seed", "0") for word in words if word.endswith((".pt", ".ckpt"))}
    return sorted({*names, *(name.replace("0.pt", f"{seed}.pt") for name in names for seed in range(5))})


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A folder with all data sets, where nothing is trained: commands end once all of their options are checked."""
    for folder, of_set in SETS.items():
        write_set(tmp_path / folder, *of_set)
    write_chexpert(tmp_path / "table" / "CheXpert")
    checked = []

    def check(config_file, options, words, strict):
        checked.append((config_file, options))
        check_options(config_file, options)
        return 0

    def stop(self, *args):
        checked.append(self)
        raise KeyboardInterrupt

    monkeypatch.setattr(command, "run_config", check)
    monkeypatch.setattr(grids.Study, "run", stop)
    monkeypatch.setattr(orders.Study, "run", stop)
    monkeypatch.setattr(tune, "_search", lambda *args: checked.append(args) or 0)
    monkeypatch.chdir(tmp_path)
    return tmp_path, checked


@pytest.mark.parametrize("page", PAGES)
def test_options_of_every_command(page, place, capsys):
    folder, checked = place
    for number, name in enumerate(weights_of(page)):
        torch.save({"x": torch.tensor(float(number))}, folder / name)
        described = {"encoder_name": ENCODERS.get(page, "resnet50"), "image_size": 224}
        (folder / name).with_suffix(".json").write_text(json.dumps(described))
    heavy = 0
    for line in COMMANDS[page]:
        if line in ("done",) or line.startswith("for seed in"):
            continue
        words = shlex.split(line.replace("$seed", "0"))
        assert words[:3] == ["python", "-m", "monai_cxrssl"], line
        if "policy=chexpert" in words:
            # Of the data set's own table; what follows takes the datalist of the stand-in.
            assert (
                cli.main([{"CheXpert": "table/CheXpert", "chexpert.json": "table.json"}.get(w, w) for w in words[3:]])
                == 0
            )
            words = ["", "", "", "index", "CheXpert", "--out", "chexpert.json"]
        before = len(checked)
        status = cli.main(words[3:])
        told = "".join(capsys.readouterr())
        assert status in (0, 130), f"{line}\n{told}"
        if words[3] not in ("index", "split"):
            heavy += 1
            assert len(checked) == before + 1, line
    assert heavy >= 2


SMALL = f"{TINY} --image_size 64 --batch_size 8 --encoder_name resnet18"
LABELS = "negative,typical,indeterminate"
#: Words of a page in small, ``None`` for a word that is left out; where it is the value of an option, with that.
IN_SMALL = {
    "simclrv2": {"5": "1", "both": "probe", "0.01": "0.5", "0.1": "0.8", "imagenet": None},
    "micle": {
        "5": "1", "both": "probe", "0.01": "0.5", "0.1": "0.8", "0.5": "0.9", "imagenet": None, "512": "8", "128": "4",
        "chexpert_competition": LABELS, "20000": "2", "simclr, fine-tuned": "simclr",
    },
}  # fmt: skip


def in_small(words, put):
    """The words of a command, smaller, with what makes its runs short."""
    small = []
    for word in words:
        new = put.get(word, word)
        if new is None and small[-1] == "--encoder_weights":
            small.pop()
        elif new is not None:
            small.append(new)
    tuned = f"{SMALL} --ignore_absent True"
    if "--max_steps" in small:
        tuned = tuned.replace("--max_epochs 1", "")
    if small[3] == "train":
        return [*small, *shlex.split(SMALL if small[4] != "classification" else f"{tuned} --min_steps 0")]
    if small[3] == "fractions":
        # One probed row each, as where the page says so.
        how = [] if "--how" in small else ["--how", "probe"]
        end = small.index("--") if "--" in small else len(small)
        return [*small[:end], *how, "--", *small[end + 1 :], *shlex.split(tuned)]
    return small


@pytest.mark.slow
@pytest.mark.parametrize("page", IN_SMALL)
def test_page_in_small(page, few_films, tmp_path, monkeypatch, warm_python):
    """From the images to the tables, each command as written but for data, sizes and length."""
    shutil.copytree(REPO / "bundles", tmp_path / "bundles", ignore=shutil.ignore_patterns("runs", "*.pt"))
    monkeypatch.chdir(tmp_path)
    shutil.copytree(few_films, tmp_path / "elsewhere")
    others = json.loads((few_films / "datalist.json").read_text())
    for item in (item for split in ("training", "validation", "test") for item in others[split]):
        item["patient_id"] = f"another {item['patient_id']}"
    (tmp_path / "elsewhere" / "datalist.json").write_text(json.dumps(others))
    put = {"CheXpert": str(few_films), "ChestX-ray14": "elsewhere", **IN_SMALL[page]}
    for line in COMMANDS[page]:
        # A search is run by tests/bundles/test_tuning.py; the policy is of CheXpert's own table.
        if line == "done" or line.startswith("for seed in") or " tune " in line:
            continue
        line = line.replace("$seed", "0").replace(" --option policy=chexpert --option blanks=zero", "")
        words = in_small(shlex.split(line), put)
        status, told = run(words, warm_python)
        assert status == 0, f"{shlex.join(words)}\n{told}"
        if page == "micle" and words[3] == "train":
            # One seed stands for all five.
            for seed in range(1, 5):
                for kind in (".pt", ".json"):
                    shutil.copy(f"{words[4]}0{kind}", f"{words[4]}{seed}{kind}")
    rows = {
        path.parent.name: [row["name"] for row in json.loads(path.read_text())["settings"]["rows"]]
        for path in tmp_path.glob("*/fractions.json")
    }
    if page == "simclrv2":
        assert rows == {"OUT": ["pixels", "random", "simclr"]}
        state = torch.load(tmp_path / "student.pt", weights_only=True)
        assert all(value.isfinite().all() for value in state.values())
    else:
        names = ["pixels", "random", "simclr", "micle"]
        assert rows == {"LABELS": names, "SHIFT": names}
