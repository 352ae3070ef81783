# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""The commands of the pages on label policies, tuning, security, several GPUs and MONAI Label: run as written, in a small
setting, or listed with the reason why not and with what is run instead.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tests.data.sources.layouts.test_chexpert import write as write_chexpert
from tests.page_commands import OURS, RUN, TINY, Small, as_run, bash_blocks, commands_of, environment, run
from tests.warm_python import WarmPython

MICLE = "\"['bundles/micle/configs/train.json','bundles/micle/configs/multi_gpu_train.json']\""
MODULE = f"-m monai.bundle run --config_file {MICLE} --dataset_dir /data/chexpert"
SMALL = f"{TINY} --image_size 64 --batch_size 8"
MACHINES = "torchrun --nnodes=2 --node_rank=0 --nproc_per_node=8 --master_addr=10.0.0.1 --master_port=29500 "

#: By page, the commands that a test below runs.
RUN_HERE = {
    "docs/label_policies.md": {
        f"{OURS} index CheXpert --out d.json --option policy=chexpert --option blanks=zero": Small(makes=("d.json",)),
        f"{OURS} index CheXpert --out d.json --option "
        + shlex.quote('policy={"Edema": "ones", "Consolidation": "lsr"}'): Small(makes=("d.json",)),
    },
    "docs/security.md": {
        f"{OURS} run --strict --config_file bundle/configs/train.json --max_epochs 5": Small(
            f"{SMALL} --phantom_patients 24 --phantom_size 96", {"5": "1"}, ("bundle/models/model.pt",)
        ),
    },
    "docs/multi_gpu.md": {
        f"torchrun --standalone --nproc_per_node=2 {MODULE}": Small(
            SMALL, {"/data/chexpert": "films"}, ("bundles/micle/models/model.pt",)
        ),
        f"{RUN}/micle/train.json --dataset_dir /data/chexpert --batch_size 1024 --gradient_cache_chunk 32": Small(
            f"{TINY} --image_size 64", {"/data/chexpert": "films", "1024": "16", "32": "4"},
            ("bundles/micle/models/model.pt",),
        ),
        MACHINES + MODULE: Small(SMALL, {"/data/chexpert": "films"}, ("bundles/micle/models/model.pt",)),
    },
}  # fmt: skip
RUN_HERE = {
    page: {shlex.join(shlex.split(command)): how for command, how in commands.items()}
    for page, commands in RUN_HERE.items()
}

#: By page, how a command that is not run by itself begins, and why it is not.
NOT_ALONE = {
    "docs/label_policies.md": dict.fromkeys(
        (f"{OURS} train classification", f"{OURS} evaluate classification"),
        "needs public data sets; tests/bundles/test_fine_tuning.py runs these options on the phantom",
    ),
    "docs/tuning.md": dict.fromkeys(
        (f"{OURS} tune classification", f"{OURS} run --config_file"),
        "takes many runs; tests/bundles/test_tuning.py runs both on few images",
    ),
    "docs/ensembles.md": dict.fromkeys(
        (f"{OURS} folds --config", f"{OURS} pack bundles/multitask"),
        "takes many runs; tests/bundles/test_folds.py runs both on few images",
    ),
    "docs/multi_gpu.md": {
        "'head_node=$(scontrol": "the SLURM script; test_slurm_script runs the whole block with stand-ins for SLURM",
        "head_node=": "the same",
        "srun torchrun": "the same",
    },
    "docs/installation.md": dict.fromkeys(
        ("pip install", "'pip install", "monai-cxrssl bundle"),
        "tests/distribution installs a wheel, and tests/apps/cli/test_bundle_command.py copies bundles",
    ),
    "docs/tracking.md": dict.fromkeys(
        ("python -m monai.bundle run", "pip install", "'pip install"),
        "tests/bundles/test_tracking.py runs these on few images, and takes wandb.json from the page",
    ),
    "docs/monai_label.md": dict.fromkeys(
        (
            "python -m monai_cxrssl.apps.monai_label", f"{OURS} pack bundles/multitask", "LABEL=", "'LABEL=",
            "SERVE=", "'SERVE=", "$SERVE", "'$SERVE", "$LABEL", "'$LABEL", "NAME=", "'NAME=", "export ", "cp -r", "mkdir -p",
            "curl ",
        ),
        "needs MONAI Label in an environment of its own: tests/apps/monai_label/test_monai_label.py makes one and does with a real "
        "server on 127.0.0.1 what the page says; pack is run by tests/test_readme_commands.py",
    ),
}  # fmt: skip


def commands(repo: Path, page: str) -> list[str]:
    return commands_of((repo / page).read_text(encoding="utf-8"))


@pytest.mark.parametrize("page", sorted({*RUN_HERE, *NOT_ALONE}))
def test_every_command_is_run_or_excused(repo, page):
    here, excused = RUN_HERE.get(page, {}), NOT_ALONE.get(page, {})
    found = commands(repo, page)
    unknown = [command for command in found if command not in here and not command.startswith(tuple(excused))]
    assert not unknown, f"new on {page}; add to RUN_HERE, or with a reason to NOT_ALONE: {unknown}"
    assert sorted(here.keys() - set(found)) == [], "no longer on the page"


def run_here(page: str, command: str, folder: Path, monkeypatch: pytest.MonkeyPatch, warm: WarmPython) -> None:
    how = RUN_HERE[page][command]
    monkeypatch.chdir(folder)
    status, told = run(as_run(command, how), warm)
    assert status == 0, f"{page}: {shlex.join(as_run(command, how))}\n{told}"
    for name in how.makes:
        assert list(folder.glob(name)), name


@pytest.mark.parametrize("command", RUN_HERE["docs/label_policies.md"])
def test_label_policies(tmp_path, monkeypatch, warm_python, command):
    write_chexpert(tmp_path / "CheXpert")
    run_here("docs/label_policies.md", command, tmp_path, monkeypatch, warm_python)
    content = json.loads((tmp_path / "d.json").read_text())
    edema = content["classes"].index("Edema")
    assert [item["label"][edema] for item in content["training"]][:2] == [1, 1]


@pytest.fixture
def folder(repo, few_films, tmp_path) -> Path:
    """A bundle as from elsewhere, the bundle of the page, and a few images."""
    for name, source in (("bundle", "simclr"), ("bundles/micle", "micle")):
        shutil.copytree(repo / "bundles" / source, tmp_path / name, ignore=shutil.ignore_patterns("runs", "*.pt"))
    (tmp_path / "films").symlink_to(few_films)
    return tmp_path


def is_trained(folder: Path) -> bool:
    state = torch.load(folder / "bundles/micle/models/model.pt", weights_only=True)
    return all(value.isfinite().all() for value in state.values())


@pytest.mark.slow
@pytest.mark.parametrize("command", RUN_HERE["docs/security.md"])
def test_security(folder, monkeypatch, warm_python, command):
    run_here("docs/security.md", command, folder, monkeypatch, warm_python)


@pytest.mark.slow
@pytest.mark.parametrize("command", [c for c in RUN_HERE["docs/multi_gpu.md"] if not c.startswith(MACHINES)])
def test_one_machine(folder, monkeypatch, warm_python, command):
    run_here("docs/multi_gpu.md", command, folder, monkeypatch, warm_python)
    assert is_trained(folder)


@pytest.mark.slow
def test_two_machines(folder, free_port):
    """The command of both machines, started twice on this one, with one process each."""
    [(command, how)] = [(c, h) for c, h in RUN_HERE["docs/multi_gpu.md"].items() if c.startswith(MACHINES)]
    here = {
        "--nproc_per_node=8": "--nproc_per_node=1", "--master_addr=10.0.0.1": "--master_addr=127.0.0.1",
        "--master_port=29500": f"--master_port={free_port}",
    }  # fmt: skip
    machines = []
    for rank in range(2):
        words = [{**here, "--node_rank=0": f"--node_rank={rank}"}.get(word, word) for word in as_run(command, how)]
        program = [sys.executable, "-m", "torch.distributed.run", *words[1:]]
        machines.append(
            subprocess.Popen(
                program,
                cwd=folder,
                env=environment() | {"CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"},
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
        )
    try:
        told = [machine.communicate(timeout=400)[0] for machine in machines]
    finally:
        for machine in machines:
            machine.kill()
    assert [machine.returncode for machine in machines] == [0, 0], "\n".join(text[-2000:] for text in told)
    assert is_trained(folder)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="a script of bash")
def test_slurm_script(repo, folder, free_port):
    """The whole script on one machine with one process, where srun and scontrol are stand-ins: no SLURM here."""
    blocks = bash_blocks((repo / "docs/multi_gpu.md").read_text(encoding="utf-8"))
    [script] = [block for block in blocks if "#SBATCH" in block]
    for old, new in (("=8", "=1"), ("29500", str(free_port)), ("/data/chexpert", f"films {SMALL}")):
        assert old in script
        script = script.replace(old, new)
    programs = folder / "programs"
    programs.mkdir()
    for name, line in {
        "srun": 'exec "$@"',
        "scontrol": '[ "$*" = "show hostnames here" ] && echo 127.0.0.1',
        "torchrun": f'exec {shlex.quote(sys.executable)} -m torch.distributed.run "$@"',
    }.items():
        (programs / name).write_text(f"#!/bin/sh\n{line}\n")
        (programs / name).chmod(0o755)
    # As on two machines, where ignite would compare them with torchrun's and refuse.
    slurm = {
        "SLURM_JOB_NODELIST": "here", "SLURM_NNODES": "1", "SLURM_JOB_NUM_NODES": "2", "SLURM_NTASKS": "2",
        "SLURM_PROCID": "0", "SLURM_LOCALID": "0", "SLURM_JOB_ID": "7", "CUDA_VISIBLE_DEVICES": "",
    }  # fmt: skip
    (folder / "job.sh").write_text(script)
    result = subprocess.run(
        ["bash", "job.sh"],
        cwd=folder,
        env=environment() | slurm | {"PATH": f"{programs}{os.pathsep}{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=False,
        timeout=400,
    )
    assert result.returncode == 0, result.stdout[-1500:] + result.stderr[-3000:]
    assert is_trained(folder)
