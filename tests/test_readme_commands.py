# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Every command on the pages that a newcomer follows is run as written, or stands here with the reason why not.

They run in the order of the pages in one copy of the repository, so that the later ones take what the earlier ones
wrote. Options appended keep them small, and words that stand for something of the reader's (DIR, OUT) are filled in.
"""

from __future__ import annotations

import contextlib
import dataclasses
import io
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

from monai_cxrssl.apps.command_line import main
from monai_cxrssl.data.phantom import make_phantom_dataset
from monai_cxrssl.data.predictions import load_predictions, save_predictions

PAGES = ("README.md", "docs/deploy.md", "docs/fine_tuning.md", "docs/report.md", "docs/data.md", "docs/federated.md")
TINY = "--recipe short --max_epochs 1 --num_workers 0"
PHANTOM = "--phantom_patients 24 --phantom_size 96"
SMALL_SET = "--recipe short --image_size 64 --batch_size 8 --num_workers 0"
RUN = "python -m monai.bundle run --config_file bundles"
OURS = "python -m monai_cxrssl"


@dataclass(frozen=True)
class Small:
    """How a command is run: words put in place of others, options appended, what it must have written."""

    add: str = ""
    put: dict[str, str] = field(default_factory=dict)
    makes: tuple[str, ...] = ()
    before: Callable[[Path], object] | None = None


def another_model(folder: Path) -> None:
    """Predictions of two models on the same films: those of the evaluation, and the same with noise."""
    predictions = load_predictions(folder / "bundles/multitask/eval/report/predictions.csv")
    save_predictions(predictions, folder / "first.csv")
    noisy = predictions.scores + 0.2 * np.random.default_rng(0).random(predictions.scores.shape)
    scores = noisy / noisy.sum(axis=1, keepdims=True)
    save_predictions(dataclasses.replace(predictions, scores=scores), folder / "second.csv")


def facts(folder: Path) -> None:
    """The page's pack has the name of the README's, with other content."""
    shutil.rmtree(folder / "dist")
    (folder / "facts.json").write_text(json.dumps({"data_source": "phantoms", "limitations": "of no use"}))


ARCHIVE = {"DIR": "my-archive"}
COMMANDS = {
    f"{RUN}/micle/train.json": Small(f"{TINY} {PHANTOM}", makes=("bundles/micle/models/model.pt",)),
    f"{RUN}/micle/train.json --dataset_dir DIR": Small(TINY, ARCHIVE, ("bundles/micle/eval/metrics.json",)),
    f"{OURS} index DIR --out d.json": Small(put=ARCHIVE, makes=("d.json",)),
    f"{OURS} split d.json --out s.json": Small(makes=("s.json",)),
    f"{RUN}/micle/train.json --datalist s.json": Small(TINY, makes=("bundles/micle/models/model.patients.json",)),
    f"{RUN}/multitask/train.json --datalist s.json --pretrained bundles/micle/models/model.pt": Small(
        f"{SMALL_SET} --max_epochs 1", makes=("bundles/multitask/models/model.pt", "bundles/multitask/eval/predictions.csv")
    ),
    f"{OURS} fractions --config_file bundles/classification/train.json --dataset_dir DIR --fractions 0.01 0.1 1 "
    "--init random bundles/micle/models/model.pt --draws 5 --output_dir OUT": Small(
        f"--fractions 1 --draws 1 -- {SMALL_SET} --max_epochs 1", {**ARCHIVE, "OUT": "grid"}, ("grid",)
    ),
    f"{RUN}/multitask/configs/evaluate.json --datalist s.json": Small(
        "--resamples 20 --max_checked 4", makes=("bundles/multitask/eval/report/index.html",)
    ),
    f"{RUN}/multitask/configs/inference.json --dataset_dir DIR --output_dir OUT": Small(
        put={**ARCHIVE, "OUT": "inferred"}, makes=("inferred/predictions.csv", "inferred/masks.csv")
    ),
    f"{OURS} report --predictions A.csv B.csv --out compared": Small(
        "--resamples 20", {"A.csv": "first.csv", "B.csv": "second.csv"}, ("compared/index.html",),
        another_model,
    ),
    f"{OURS} export bundles/multitask/models/model.pt --int8": Small(
        makes=("bundles/multitask/models/model.onnx", "bundles/multitask/models/model.int8.onnx")
    ),
    f"{OURS} pack bundles/multitask --name chest_xray_multitask_segmentation --out dist": Small(
        makes=("dist/chest_xray_multitask_segmentation/SHA256SUMS",)
    ),
    f"{OURS} show d.json --out sheet.png": Small(makes=("sheet.png",)),
    f"{OURS} audit s.json": Small(),
    f"{OURS} cache d.json --out CACHE": Small(makes=("CACHE",)),
    f"{OURS} phantom OUT --patients 64": Small("--patients 4 --size 64", {"OUT": "drawn"}, ("drawn/datalist.json",)),
    f"{OURS} pack bundles/multitask --name chest_xray_multitask_segmentation --out dist --facts facts.json": Small(
        makes=("dist/chest_xray_multitask_segmentation/docs/README.md",), before=facts
    ),
    f"{OURS} pack --check dist/chest_xray_multitask_segmentation": Small(),
    f"{OURS} export bundles/multitask/models/model.pt --out model.onnx --check_images DIR --int8": Small(
        put=ARCHIVE, makes=("model.onnx", "model.int8.onnx")
    ),
    f"{RUN}/classification/train.json --datalist s.json --pretrained bundles/micle/models/model.pt": Small(
        f"{SMALL_SET} --max_epochs 1", makes=("bundles/classification/eval/metrics.json",)
    ),
    f"{RUN}/multitask/train.json --datalist s.json": Small(
        f"{SMALL_SET} --max_epochs 1", makes=("bundles/multitask/models/model.pt",)
    ),
    f"{OURS} cache s.json --out CACHE": Small(put={"CACHE": "kept"}, makes=("kept",)),
    f"{OURS} index DIR --out hospital_a.json": Small(put=ARCHIVE, makes=("hospital_a.json",)),
}  # fmt: skip

NOT_RUN = {
    "pip install -e .": "installs this environment, which runs the tests; .ci/run installs a new one",
    "pip install -e '.[test]'": "the same; .ci/run gives this command",
    "pytest": "runs this very test; .ci/run gives this command",
    f"{OURS} index kermany-pediatric --out d.json": "needs a public data set",
    f"{OURS} split d.json --fractions 0.6 0 0.4 --seed 1 --ignore_official --out s.json": "of a public data set",
    f"{OURS} fractions --config_file bundles/classification/train.json --datalist s.json --fractions 0.01 0.1 1 "
    "--init random simclr/model.pt micle/model.pt --draws 3 --output_dir OUT -- --recipe short --encoder_name resnet18 "
    "--image_size 96 --ignore_absent True": "of a public data set, and of encoders of a benchmark that takes hours",
}


def commands_of(text: str) -> list[str]:
    """Return the commands of a page's bash blocks, without comments, each in one line."""
    found = []
    for block in re.findall(r"^```bash\n(.*?)^```", text, flags=re.DOTALL | re.MULTILINE):
        for line in block.replace("\\\n", " ").splitlines():
            words = shlex.split(line, comments=True)
            while words:
                end = words.index("&&") if "&&" in words else len(words)
                found.append(shlex.join(words[:end]))
                words = words[end + 1 :]
    return found


def written() -> list[tuple[str, str]]:
    """Return page and command in the order of the pages; what an earlier page has already is left out."""
    repo = Path(__file__).parents[1]
    rows: list[tuple[str, str]] = []
    for page in PAGES:
        known = {command for _, command in rows}
        of_page = dict.fromkeys(commands_of((repo / page).read_text(encoding="utf-8")))
        rows += [(page, command) for command in of_page if command not in known]
    return rows


def as_run(command: str) -> list[str]:
    """Return the words of a command as it is run here."""
    how = COMMANDS[command]
    return [*(how.put.get(word, word) for word in shlex.split(command)), *shlex.split(how.add)]


def run(words: list[str]) -> tuple[int, str]:
    """Return exit status and output of a command, run in the current folder."""
    if words[:3] == ["python", "-m", "monai_cxrssl"]:
        # In this process, which has loaded torch already: seconds instead of ten for each of them.
        told = io.StringIO()
        with contextlib.redirect_stdout(told), contextlib.redirect_stderr(told):
            return main(words[3:]), told.getvalue()
    assert words[0] == "python"
    environment = {**os.environ, "PYTHONWARNINGS": "ignore", "TQDM_DISABLE": "1", "MPLBACKEND": "Agg"}
    result = subprocess.run(
        [sys.executable, *words[1:]], env=environment, capture_output=True, text=True, check=False, timeout=600
    )  # fmt: skip
    return result.returncode, result.stdout[-1500:] + result.stderr[-3000:]


def test_commands_are_read_as_a_shell_would():
    page = "```bash\na b && c 'd e'  # why\n# nothing\nf \\\n    --g\n```\n```python\nh\n```\n"
    assert commands_of(page) == ["a b", "c 'd e'", "f --g"]


def test_every_command_is_run_or_excused():
    found = {command for _, command in written()}
    assert not COMMANDS.keys() & NOT_RUN.keys()
    unknown = sorted(found - COMMANDS.keys() - NOT_RUN.keys())
    assert not unknown, f"new on {', '.join(PAGES)}; add to COMMANDS, or with a reason to NOT_RUN: {unknown}"
    gone = sorted((COMMANDS.keys() | NOT_RUN.keys()) - found)
    assert not gone, f"on none of the pages any more; take out of this file: {gone}"


@pytest.fixture(scope="module")
def working_copy(repo, tmp_path_factory) -> Path:
    """The repository's own files, without what runs left among them, and an archive that has no division of its own."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"], cwd=repo, capture_output=True, check=False
    )  # fmt: skip
    if listed.returncode != 0:
        pytest.skip("not a git checkout, so its own files cannot be told from those of runs")
    folder = tmp_path_factory.mktemp("readme")
    for name in filter(None, listed.stdout.decode().split("\0")):
        if (repo / name).is_file() and not name.startswith(("tests/", "benchmarks/", "docs/")):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(repo / name, folder / name)
    path = make_phantom_dataset(folder / "my-archive", patients=72, size=96, images_per_patient=(1, 2), progress=False)
    content = json.loads(path.read_text())
    content["training"] += content.pop("validation") + content.pop("test")
    path.write_text(json.dumps({**content, "validation": [], "test": []}))
    return folder


@pytest.mark.slow
@pytest.mark.parametrize(
    ("page", "command"), [(page, command) for page, command in written() if command not in NOT_RUN]
)
def test_command(working_copy, monkeypatch, page, command):
    monkeypatch.chdir(working_copy)
    how = COMMANDS[command]
    if how.before is not None:
        how.before(working_copy)
    status, told = run(as_run(command))
    assert status == 0, f"{page}: {shlex.join(as_run(command))}\n{told}"
    for name in how.makes:
        assert (working_copy / name).exists(), name
