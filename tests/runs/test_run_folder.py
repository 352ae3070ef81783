# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Every run has a folder of its own; an interrupted training is found again."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from monai_cxrssl.errors import ConfigurationError
from monai_cxrssl.files import write_json
from monai_cxrssl.runs import finish_run, phantom_folder, run_folder, start_run, training_folder
from monai_cxrssl.runs.run_folder import newest_report


@pytest.fixture
def bundle(tmp_path) -> Path:
    folder = tmp_path / "other name"
    folder.mkdir()
    return folder


def python(code: str, *words: object, wait: bool = True) -> subprocess.Popen:
    process = subprocess.Popen([sys.executable, "-c", code, *map(str, words)], stdout=subprocess.PIPE, text=True)
    if wait:
        process.wait(120)
    return process


def test_each_run_has_a_folder_of_its_own(bundle):
    folders = [Path(run_folder(bundle)), Path(run_folder(bundle)), Path(run_folder(bundle, "evaluate"))]
    assert len(set(folders)) == 3
    assert all(folder.is_dir() and folder.parent == bundle / "runs" for folder in folders)
    assert folders[0].name.endswith("_other name")
    assert folders[2].name.endswith("_other name_evaluate")


def test_a_bundle_is_called_by_its_folder_wherever_one_works(bundle, monkeypatch):
    monkeypatch.chdir(bundle)
    folder = Path(run_folder("."))
    assert folder.name.endswith("_other name")
    assert (bundle / folder).is_dir()


def test_an_empty_folder_goes_with_its_process(bundle):
    code = "import sys; from monai_cxrssl.runs.run_folder import run_folder; f = run_folder(sys.argv[1]); print(f)"
    said = python(code, bundle).stdout.read().strip()
    assert said.startswith(str(bundle / "runs"))
    assert not (bundle / "runs").exists()
    said = python(code + "; open(f + '/log.txt', 'w')", bundle).stdout.read().strip()
    assert (Path(said) / "log.txt").exists()


def test_a_bundle_that_cannot_be_written(tmp_path):
    (tmp_path / "runs").write_text("a file")
    assert Path(run_folder(tmp_path)).parent == tmp_path / "runs"


def test_resuming_takes_the_newest_incomplete_training(bundle):
    def begun(name: str, kind: str = "train", complete: bool = False) -> Path:
        folder = bundle / "runs" / name
        write_json({"kind": kind, "status": "complete" if complete else "running"}, folder / "run.json")
        return folder

    begun("20250101_000000_x")
    older = begun("20250102_000000_x")
    begun("20250103_000000_x", complete=True)
    begun("20250104_000000_x_evaluate", kind="evaluate")
    (bundle / "runs" / "phantom_24x96").mkdir()
    assert training_folder(bundle, "auto") == training_folder(bundle, True) == str(older)
    assert training_folder(bundle) != str(older)
    assert training_folder(bundle, "somewhere/checkpoint.pt") != str(older)
    finish_run(older)
    assert training_folder(bundle, "auto") == str(bundle / "runs" / "20250101_000000_x")
    finish_run(bundle / "runs" / "20250101_000000_x")
    assert not (Path(training_folder(bundle, "auto")) / "run.json").exists()


def test_a_training_that_still_runs_is_not_gone_on_with(bundle):
    code = (
        "import sys; from monai_cxrssl.runs import start_run; start_run(sys.argv[1], 'train'); print('on', flush=True); "
        "sys.stdin.read()"
    )
    folder = bundle / "runs" / "20250101_000000_x"
    folder.mkdir(parents=True)
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout.readline() == "on\n"
        assert training_folder(bundle, "auto") != str(folder)
    finally:
        process.kill()
        process.communicate()
    assert training_folder(bundle, "auto") == str(folder)


def test_this_process_may_go_on_with_its_own_training(bundle):
    folder = Path(training_folder(bundle))
    start_run(folder, "train")
    assert training_folder(bundle, "auto") == str(folder)


def test_processes_that_have_not_joined_are_told_so(bundle, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(ConfigurationError, match="must share its folder, and have not joined"):
        run_folder(bundle)


def test_two_processes_get_one_folder(bundle, free_port):
    code = (
        "import sys, torch.distributed as dist; from monai_cxrssl.runs.run_folder import run_folder; "
        "dist.init_process_group('gloo'); print(run_folder(sys.argv[1])); dist.barrier()"
    )
    common = {**os.environ, "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port)}
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", code, str(bundle)], env={**common, "RANK": rank}, stdout=subprocess.PIPE, text=True
        )
        for rank in "01"
    ]
    said = {process.communicate(timeout=120)[0].strip() for process in processes}
    assert len(said) == 1
    assert said.pop().startswith(str(bundle / "runs"))


def test_the_phantom_is_shared_by_runs_of_a_bundle(bundle, tmp_path):
    first, second = run_folder(bundle), run_folder(bundle)
    assert phantom_folder(first, 24, 96) == phantom_folder(second, 24, 96) == str(bundle / "runs" / "phantom_24x96")
    assert phantom_folder(second, 32, 96) == str(bundle / "runs" / "phantom_32x96")
    assert phantom_folder(tmp_path / "own", 24, 96) == str(tmp_path / "own" / "phantom")


def test_the_newest_report_of_a_model(bundle):
    for name in ("20250101_x_evaluate", "20250102_x_evaluate", "20250103_x_evaluate"):
        write_json({"of": name[:8]}, bundle / "runs" / name / "report" / "metrics.json")
    (bundle / "runs" / "20250104_x_evaluate" / "report").mkdir(parents=True)
    assert newest_report(bundle, lambda report: True).parent.name == "20250103_x_evaluate"
    assert newest_report(bundle, lambda report: "20250101" in str(report)).parent.name == "20250101_x_evaluate"
    assert newest_report(bundle, lambda report: False) is None
