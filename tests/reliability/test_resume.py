# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Resume, exactly: within epochs, after signals, past damaged checkpoints."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys

import pytest
import torch
from ignite.engine import Events

from monai_cxrssl.checkpoints import save_atomically
from monai_cxrssl.checkpoints.file import read_checked
from monai_cxrssl.checkpoints.folder import CheckpointFolder
from monai_cxrssl.checkpoints.stop_signal import STOPPED_STATUS, RunStopped
from monai_cxrssl.errors import ConfigurationError, TrainingError
from monai_cxrssl.handlers import RunProgressBar
from tests.reliability.tiny_run import BATCHES, tiny_run


class Killed(BaseException):
    pass


def kill_at(iteration: int):
    """Stand in for a kill after an iteration: nothing is saved on the way out."""

    class Kill:
        def attach(self, engine) -> None:
            engine.add_event_handler(Events.ITERATION_STARTED(once=iteration + 1), self._kill)

        def _kill(self, engine) -> None:
            raise Killed

    return Kill()


def weights(run) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in run.method.state_dict().items()}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """An uninterrupted run's weights, by the steps of an accumulation."""
    found = {}
    for steps in (1, 3):
        run = tiny_run(tmp_path_factory.mktemp("whole"), accumulation_steps=steps, minutes=10)
        run.run()
        found[steps] = weights(run)
    return found


@pytest.mark.parametrize("steps", [1, 3])
@pytest.mark.parametrize("iteration", [1, 4, 5, 6, 7, 10, 12, 17])
def test_killed_within_an_epoch_ends_bit_equal(tmp_path, whole, iteration, steps):
    with pytest.raises(Killed):
        tiny_run(tmp_path, more=[kill_at(iteration)], accumulation_steps=steps).run()
    newest = CheckpointFolder(tmp_path).files()
    torch.randn(7)  # what another process drew before must not matter
    again = tiny_run(tmp_path, resume="auto", accumulation_steps=steps)
    assert again.state.iteration == iteration // steps * steps if newest else iteration < steps
    again.run()
    assert again.state.epoch == 3
    assert again.state.iteration == 3 * BATCHES
    for name, value in weights(again).items():
        assert torch.equal(value, whole[steps][name]), name


@pytest.mark.parametrize("iteration", [4, 6, 9])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_saves_and_ends(tmp_path, whole, iteration, number, caplog):
    class Send:
        def attach(self, engine) -> None:
            engine.add_event_handler(Events.ITERATION_STARTED(once=iteration), lambda _: os.kill(os.getpid(), number))

    before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
    with pytest.raises(RunStopped) as stopped:
        tiny_run(tmp_path, minutes=10, more=[Send()]).run()
    assert stopped.value.code == STOPPED_STATUS == 75
    assert (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)) == before
    assert f"{number.name}: the run was stopped after iteration {iteration} of 18" in caplog.text
    again = tiny_run(tmp_path, resume=True, minutes=10)
    assert again.state.iteration == iteration
    again.run()
    assert all(torch.equal(value, whole[1][name]) for name, value in weights(again).items())


def test_a_signal_in_the_last_epoch_border_lets_the_run_finish(tmp_path):
    class Send:
        def attach(self, engine) -> None:
            at = Events.ITERATION_COMPLETED(once=3 * BATCHES)
            engine.add_event_handler(at, lambda _: os.kill(os.getpid(), signal.SIGTERM))

    run = tiny_run(tmp_path, more=[Send()])
    run.run()
    assert run.state.epoch == 3


def test_a_checkpoint_cut_at_any_of_50_places_is_recognised(tmp_path, caplog):
    folder = CheckpointFolder(tmp_path)
    with pytest.raises(Killed):
        tiny_run(tmp_path, more=[kill_at(8)]).run()
    newest, previous = folder.files()
    content = newest.read_bytes()
    for number in range(50):
        newest.write_bytes(content[: len(content) * number // 50])
        caplog.clear()
        path, state = folder.newest()
        assert path == previous
        assert state["iteration"] == 1
        assert f"Skipped the checkpoint {newest}: it is cut or damaged" in caplog.text
    newest.write_bytes(content[:-1])
    assert folder.newest()[0] == previous
    newest.write_bytes(content)
    assert folder.newest()[0] == newest


def test_a_flipped_bit_in_a_tensor_is_recognised(tmp_path):
    """Torch loads such a file without a word."""
    path = tmp_path / "checkpoint_epoch=0001.pt"
    save_atomically({"a": torch.arange(5000.0)}, path)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 4
    path.write_bytes(bytes(content))
    assert not torch.equal(torch.load(path, weights_only=True)["a"], torch.arange(5000.0))
    with pytest.raises(ValueError, match="does not match its checksum"):
        read_checked(path)


def test_what_was_written_is_read_back_before_the_old_one_goes(tmp_path, monkeypatch):
    path = tmp_path / "state.pt"
    save_atomically({"a": 1}, path, verify=True)
    plain = torch.save

    def rot(content, file):
        plain(content, file)
        file.seek(file.tell() // 2)
        file.write(b"\xffrot\xff")

    monkeypatch.setattr(torch, "save", rot)
    with pytest.raises(TrainingError, match="read back from the disk"):
        save_atomically({"a": torch.arange(500)}, path, verify=True)
    assert read_checked(path) == {"a": 1}
    assert [each.name for each in tmp_path.iterdir()] == ["state.pt"]


def test_code_in_a_checkpoint_does_not_run(tmp_path):
    class Evil:
        def __reduce__(self):
            return os.system, (f"touch {tmp_path}/ran",)

    path = tmp_path / "checkpoint_epoch=0001.pt"
    torch.save({"parts": Evil()}, path)
    assert CheckpointFolder(tmp_path).newest() is None
    with pytest.raises(ConfigurationError, match="Cannot resume"):
        tiny_run(tmp_path / "other", resume=str(path))
    assert not (tmp_path / "ran").exists()


def test_a_state_after_a_loss_that_is_no_number_is_not_saved(tmp_path):
    class Spoil:
        def attach(self, engine) -> None:
            engine.add_event_handler(Events.ITERATION_COMPLETED(once=5), self._spoil)

        def _spoil(self, engine) -> None:
            engine.state.output[0]["loss"] = torch.tensor(float("nan"))

    with pytest.raises(TrainingError, match=r"iteration 5; this state was not saved. Go on from .*iteration=000004"):
        tiny_run(tmp_path, more=[Spoil()]).run()


@pytest.mark.parametrize("leave", ["killed", "deleted"])
def test_partial_files_of_a_killed_save_are_removed(tmp_path, leave):
    (tmp_path / ".checkpoint_epoch=0001.pt.123.partial").write_bytes(b"half")
    tiny_run(tmp_path, resume="auto")
    assert list(tmp_path.iterdir()) == []
    shutil.rmtree(tmp_path)
    tiny_run(tmp_path, resume="auto")
    assert tmp_path.is_dir()


def test_two_runs_in_one_folder_are_refused(tmp_path, repo):
    tiny_run(tmp_path)
    code = (
        "import sys, pathlib; from monai_cxrssl.checkpoints.folder import CheckpointFolder;"
        "CheckpointFolder(pathlib.Path(sys.argv[1])).hold()"
    )
    result = subprocess.run([sys.executable, "-c", code, tmp_path], cwd=repo, capture_output=True, text=True)
    assert result.returncode == 1
    assert f"Another run is writing to {tmp_path}" in result.stderr


def test_a_loader_process_that_outlives_its_run_does_not_hold_the_folder(tmp_path, repo):
    code = (
        "import os, sys, pathlib, time; from monai_cxrssl.checkpoints.folder import CheckpointFolder;"
        "CheckpointFolder(pathlib.Path(sys.argv[1])).hold(); os.fork() or time.sleep(20)"
    )
    process = subprocess.Popen([sys.executable, "-c", code, tmp_path], cwd=repo)
    assert process.wait(60) == 0
    CheckpointFolder(tmp_path).hold()


def test_the_progress_bar_is_closed_before_the_sentence(tmp_path):
    bar = RunProgressBar()

    class Fail:
        def attach(self, engine) -> None:
            engine.add_event_handler(Events.ITERATION_STARTED(once=2), self._fail)

        def _fail(self, engine) -> None:
            raise OSError(28, "No space left on device", "metrics.json")

    run = tiny_run(tmp_path, more=[Fail()])
    bar.attach(run)
    with pytest.raises(TrainingError, match=r"The disk is full; free some space \(metrics.json\)"):
        run.run()
    assert bar._bar is None
