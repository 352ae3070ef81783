# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Every command on the pages that a newcomer follows is run as written, or stands here with the reason why not.

They run in the order of the pages in one copy of the repository, so that the later ones take what the earlier ones
wrote. The README's tour runs without a change, but for the folder of MONAI Label's environment, which is kept between
runs. Elsewhere options appended keep commands small, and words that stand for something of the reader's (DIR, OUT) are
filled in.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import shlex
import shutil
import subprocess
import time
import urllib.error
from pathlib import Path

import numpy as np
import pytest

from monai_cxrssl.apps.monai_label.install import cache_folder, environment_python
from monai_cxrssl.data.datalists.predictions import load_predictions, save_predictions
from monai_cxrssl.phantom import make_phantom_dataset
from tests.apps.monai_label.label_server import LabelServer
from tests.page_commands import OURS, RUN, SMALL_SET, TINY, Small, as_run, commands_of, run

PAGES = (
    "README.md", "docs/commands.md", "docs/deploy.md", "docs/fine_tuning.md", "docs/report.md", "docs/data.md",
    "docs/federated.md",
)  # fmt: skip
PHANTOM = "--phantom_patients 24 --phantom_size 96"


def another_model(folder: Path) -> None:
    """Predictions of two models on the same images: those of the evaluation, and the same with noise."""
    predictions = load_predictions(next((folder / "bundles/multitask/runs").glob("*/report/predictions.csv")))
    save_predictions(predictions, folder / "first.csv")
    noisy = predictions.scores + 0.2 * np.random.default_rng(0).random(predictions.scores.shape)
    scores = noisy / noisy.sum(axis=1, keepdims=True)
    save_predictions(dataclasses.replace(predictions, scores=scores), folder / "second.csv")


def facts(folder: Path) -> None:
    """The page's pack has the name of the README's, with other content."""
    shutil.rmtree(folder / "dist")
    (folder / "facts.json").write_text(json.dumps({"data_source": "phantoms", "limitations": "of no use"}))


def label_table(folder: Path) -> None:
    """A finding for every second image of the datalist, by the name of its file, as a spreadsheet writes it in Europe."""
    names = sorted(Path(item["image"]).stem for item in json.loads((folder / "d.json").read_text())["training"])
    rows = [f"{name};{('normal', 'typical')[number % 4 // 2]}" for number, name in enumerate(names) if number % 2]
    (folder / "labels.csv").write_text("\n".join(["film;finding", *rows]))


def lung_facts(folder: Path) -> None:
    """Facts of a pack of the weights that come with the package."""
    (folder / "facts.json").write_text(
        json.dumps({"data_source": "images of children and adults", "limitations": "research"})
    )


ARCHIVE = {"DIR": "my-archive"}
KINDS = ("seg", "sr", "sc", "gsps")
#: Of MONAI, typed in the folder of a pack.
IN_A_PACK = (
    "verify_metadata --meta_file configs/metadata.json --filepath eval/schema.json",
    "verify_net_in_out network_def --meta_file configs/metadata.json --config_file configs/inference.json",
    "ckpt_export network_def --filepath models/model.ts --ckpt_file models/model.pt --meta_file configs/metadata.json "
    "--config_file configs/inference.json",
    "onnx_export network_def --filepath models/model.onnx --ckpt_file models/model.pt --meta_file configs/metadata.json "
    "--config_file configs/inference.json",
)
LABEL = cache_folder() / "monai_label-tests"
SERVE = "label_env/bin/python -m monai_cxrssl.apps.monai_label.serve"
TOUR = {
    f"{OURS} phantom FILMS --patients 64 --size 256": Small(makes=("FILMS/datalist.json",)),
    f"{OURS} index FILMS --out d.json": Small(makes=("d.json",)),
    f"{OURS} split d.json --out s.json": Small(makes=("s.json",)),
    f"{RUN}/micle/train.json --datalist s.json --recipe short": Small(
        makes=("bundles/micle/models/model.patients.json", "bundles/micle/runs/*/curves.png")
    ),
    f"{RUN}/multitask/train.json --datalist s.json --recipe short --pretrained bundles/micle/models/model.pt": Small(
        makes=("bundles/multitask/models/model.pt", "bundles/multitask/runs/*_multitask/predictions.csv")
    ),
    f"{RUN}/multitask/configs/evaluate.json --datalist s.json": Small(
        makes=("bundles/multitask/runs/*/report/index.html",)
    ),
    f"{OURS} pack bundles/multitask --name chest_xray_multitask_segmentation --out dist": Small(
        makes=("dist/chest_xray_multitask_segmentation/SHA256SUMS",)
    ),
    "python -m monai_cxrssl.apps.monai_label.install label_env": Small(put={"label_env": str(LABEL)}),
    "cp -r monai_cxrssl/apps/monai_label label_app": Small(makes=("label_app/main.py",)),
    f"{SERVE} --app label_app --studies FILMS/images --conf bundle dist/chest_xray_multitask_segmentation": Small(
        put={"label_env/bin/python": str(environment_python(LABEL))}
    ),
}
COMMANDS = TOUR | {
    f"{RUN}/micle/train.json": Small(f"{TINY} {PHANTOM}", makes=("bundles/micle/models/model.pt",)),
    # Beside the tour's encoder, which others take below.
    f"{RUN}/micle/train.json --dataset_dir DIR": Small(
        f"{TINY} --output_dir beside --model_path beside/model.pt", ARCHIVE, ("beside/metrics.json",)
    ),
    f"{OURS} train micle --help": Small(),
    f"{OURS} train micle --dataset_dir DIR": Small(
        f"{TINY} --output_dir in_short --model_path in_short/model.pt", ARCHIVE, ("in_short/metrics.json",)
    ),
    f"{OURS} evaluate multitask --datalist s.json": Small(
        "--resamples 20 --max_checked 4 --output_dir evaluated", makes=("evaluated/report/index.html",)
    ),
    f"{OURS} predict multitask --dataset_dir DIR --output_dir OUT": Small(
        put={**ARCHIVE, "OUT": "predicted"}, makes=("predicted/predictions.csv", "predicted/masks.csv")
    ),
    f"{OURS} index DIR --out d.json": Small(put=ARCHIVE, makes=("d.json",)),
    f"{RUN}/micle/train.json --datalist s.json": Small(TINY, makes=("bundles/micle/models/model.patients.json",)),
    f"{OURS} fractions --config_file bundles/classification/train.json --dataset_dir DIR --fractions 0.01 0.1 1 "
    "--init random bundles/micle/models/model.pt --draws 5 --output_dir OUT": Small(
        # All phantoms have the same names: the archive's test patients are among those of the tour.
        f"--fractions 1 --draws 1 -- {SMALL_SET} --max_epochs 1 --allow_leak True", {**ARCHIVE, "OUT": "grid"}, ("grid",)
    ),
    f"{OURS} tasks bundles/micle/models/model.pt --task findings=DIR lungs=DIR:bundle=lung_segmentation --draws 3 "
    "--output_dir OUT": Small(
        f"--how probe --draws 1 {SMALL_SET} --max_epochs 1 --allow_leak True",
        {"findings=DIR": "findings=my-archive", "lungs=DIR:bundle=lung_segmentation": "lungs=my-archive:bundle=lung_segmentation",
         "OUT": "tasks"}, ("tasks/tasks.json",),
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
    f"{OURS} label d.json labels.csv --out d.json --match film=file --label_column finding": Small(
        "--replace --out labelled.json", makes=("labelled.json",), before=label_table
    ),
    f"{OURS} show d.json --out sheet.png": Small(makes=("sheet.png",)),
    f"{OURS} audit s.json": Small(),
    f"{OURS} cache d.json --out CACHE": Small(makes=("CACHE",)),
    f"{OURS} phantom OUT --patients 64": Small("--patients 4 --size 64", {"OUT": "drawn"}, ("drawn/datalist.json",)),
    f"{OURS} runs bundles/micle": Small(),
    f"{OURS} pack bundles/multitask --name chest_xray_multitask_segmentation --out dist --facts facts.json": Small(
        makes=("dist/chest_xray_multitask_segmentation/docs/README.md",), before=facts
    ),
    f"{OURS} pack --check dist/chest_xray_multitask_segmentation": Small(),
    f"{OURS} pack bundles/lung_segmentation --zoo --out zoo --facts facts.json "
    "--weights_url https://example.org/model.pt": Small(
        makes=("zoo/ci/unit_tests/test_*.py", "zoo/models/*/large_files.yml"), before=lung_facts
    ),
    f"{RUN}/multitask/configs/inference.json --dataset_dir DIR --output_dir OUT --dicom_results 'seg sr sc gsps'": Small(
        put={**ARCHIVE, "OUT": "results"}, makes=("results/dicom_results.csv", *(f"results/dicom_{kind}/*.dcm" for kind in KINDS))
    ),
    f"{OURS} pack bundles/multitask --name chest_xray_multitask_segmentation --out dist --deploy": Small(
        put={"dist": "deployed"}, makes=("deployed/chest_xray_multitask_segmentation_deploy/app.py",)
    ),
    f"{OURS} export bundles/multitask/models/model.pt --out model.onnx --check_images DIR --int8": Small(
        put=ARCHIVE, makes=("model.onnx", "model.int8.onnx")
    ),
    f"{RUN}/classification/train.json --datalist s.json --pretrained bundles/micle/models/model.pt": Small(
        f"{SMALL_SET} --max_epochs 1", makes=("bundles/classification/runs/*/metrics.json",)
    ),
    f"{OURS} train simclr --datalist s.json --projection_layers 3": Small(
        TINY, makes=("bundles/simclr/models/model.pt",)
    ),
    f"{OURS} train classification --datalist s.json --pretrained bundles/simclr/models/model.pt --head_layers 1": Small(
        f"{SMALL_SET} --max_epochs 1", makes=("bundles/classification/models/model.pt",)
    ),
    f"{RUN}/multitask/train.json --datalist s.json": Small(
        f"{SMALL_SET} --max_epochs 1", makes=("bundles/multitask/models/model.pt",)
    ),
    f"{OURS} cache s.json --out CACHE": Small(put={"CACHE": "kept"}, makes=("kept",)),
    f"{OURS} index DIR --out hospital_a.json": Small(put=ARCHIVE, makes=("hospital_a.json",)),
}  # fmt: skip

NOT_RUN = {
    **{f"python -m monai.bundle {words}": "tests/apps/pack/test_model_zoo.py runs it in packs" for words in IN_A_PACK},
    "pip install -e .": "installs this environment, which runs the tests; .ci/run installs a new one",
    "pip install -e '.[test]'": "the same; .ci/run gives this command",
    "pytest": "runs this very test; .ci/run gives this command",
    f"{OURS} index kermany-pediatric --out d.json": "needs a public data set",
    f"{OURS} split d.json --fractions 0.6 0 0.4 --seed 1 --ignore_official --out s.json": "of a public data set",
    f"{OURS} fractions --config_file bundles/classification/train.json --datalist s.json --fractions 0.01 0.1 1 "
    "--init random simclr/model.pt micle/model.pt --draws 3 --output_dir OUT -- --recipe short --encoder_name resnet18 "
    "--image_size 96 --ignore_absent True": "of a public data set, and of encoders of a benchmark that takes hours",
}


def written() -> list[tuple[str, str]]:
    """Return page and command in the order of the pages; what an earlier page has already is left out."""
    repo = Path(__file__).parents[1]
    rows: list[tuple[str, str]] = []
    for page in PAGES:
        known = {command for _, command in rows}
        of_page = dict.fromkeys(commands_of((repo / page).read_text(encoding="utf-8")))
        rows += [(page, command) for command in of_page if command not in known]
    return rows


@pytest.mark.parametrize(
    ("block", "expected"),
    [
        ("a b && c 'd e'  # why\n# nothing\nf \\\n    --g", ["a b", "c 'd e'", "f --g"]),
        ("a --train#method#layers 3 'x # y' # why # not", ["a '--train#method#layers' 3 'x # y'"]),
        ('#!/bin/bash\n#SBATCH --nodes=2\na "b \\" # c"d # e', ["a 'b \" # cd'"]),
    ],
)
def test_commands_are_read_as_a_shell_would(block, expected):
    assert commands_of(f"```bash\n{block}\n```\n```python\nh\n```\n") == expected


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


def serve_and_ask(words: list[str], folder: Path, port: int) -> None:
    """Start the tour's server on a free port, ask it for an image of the studies folder, and end it."""
    with open(folder / "server.log", "w") as log:
        process = subprocess.Popen([*words, "--port", str(port)], stdout=log, stderr=subprocess.STDOUT)
    try:
        server = LabelServer(port, folder / "server.log")
        for _ in range(240):
            assert process.poll() is None, server.log.read_text()[-3000:]
            with contextlib.suppress(urllib.error.URLError, ConnectionError):
                server.json("/info/")
                break
            time.sleep(0.5)
        assert list(server.json("/info/")["models"]) == ["chest_xray_multitask_segmentation"]
        film = next((folder / "FILMS/images").rglob("*.dcm"))
        table, mask = server.infer("chest_xray_multitask_segmentation", film)
        assert [row["label"] for row in table["prediction"]] == json.loads(Path("s.json").read_text())["classes"]
        assert mask
    finally:
        process.terminate()
        process.wait(60)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("page", "command"), [(page, command) for page, command in written() if command not in NOT_RUN]
)
def test_command(working_copy, monkeypatch, free_port, warm_python, page, command):
    monkeypatch.chdir(working_copy)
    how = COMMANDS[command]
    if command.startswith(SERVE):
        return serve_and_ask(as_run(command, how), working_copy, free_port)
    if how.before is not None:
        how.before(working_copy)
    status, told = run(as_run(command, how), warm_python)
    assert status == 0, f"{page}: {shlex.join(as_run(command, how))}\n{told}"
    for name in how.makes:
        assert list(working_copy.glob(name)), name
