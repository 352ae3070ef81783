# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Fixtures that every test folder shares."""

from __future__ import annotations

import logging
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path

import pytest
from filelock import FileLock

from monai_cxrssl.tiers import TIERS
from tests.warm_python import WarmPython

# Several workers that each start a thread per core slow each other manifold; said before anything imports torch, and
# inherited by the bundles that tests start.
if "PYTEST_XDIST_WORKER_COUNT" in os.environ:
    workers = int(os.environ["PYTEST_XDIST_WORKER_COUNT"])
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // workers)))

REPO = Path(__file__).resolve().parents[1]

#: Folders of fixtures that live as long as the session.
SESSION_FOLDERS: set[Path] = set()

#: Files whose tests follow one another for many minutes: a worker that begins with them ends with the others.
LONGEST = ("test_readme_commands.py", "test_monai_label.py", "test_pretraining.py", "test_fine_tuning.py")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the long files, then with those that hold slow tests; within a file the order stays."""
    slow = {item.path for item in items if item.get_closest_marker("slow") is not None}

    def rank(item: pytest.Item) -> tuple[int, bool]:
        name = item.path.name
        return LONGEST.index(name) if name in LONGEST else len(LONGEST), item.path not in slow

    items.sort(key=rank)


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(collector: pytest.Collector) -> Iterator[None]:
    """Without torch, skip the files that import what no installed tier has; those left are the light suite."""
    report = yield
    if report.failed and find_spec("torch") is None and isinstance(collector, pytest.Module):
        absent = re.search(r"This needs (\w+), which is not installed|No module named '(\w+)'", str(report.longrepr))
        if absent and (absent[1] or absent[2]) in {*TIERS, "skimage"}:
            report.outcome = "skipped"
            report.longrepr = (str(collector.path), 0, f"Skipped: {absent[0]}")
    return report


@pytest.fixture(scope="module", autouse=True)
def _folders_of_a_module_go_with_it(request, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Else the weights of all runs stay until the session ends; those of a module with a failure stay for who looks."""
    session, base = request.session, tmp_path_factory.getbasetemp()
    before, failed = set(base.iterdir()), session.testsfailed
    yield
    if session.testsfailed == failed:
        for folder in set(base.iterdir()) - before - SESSION_FOLDERS:
            shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def repo() -> Path:
    """The checkout that is tested."""
    return REPO


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Real chest X-rays beside the checkout (or at ``CXRSSL_SHARED_DATA``); tests that need them skip without."""
    folder = Path(os.environ.get("CXRSSL_SHARED_DATA", REPO.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"real X-rays not found: no folder {folder.name!r} beside the checkout's parent")
    return folder


@pytest.fixture(scope="session")
def warm_python(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WarmPython]:
    """Runs programs in forks of a process that has imported torch and MONAI; started with the first that wants it."""
    if not hasattr(os, "fork"):
        pytest.skip("programs are started as forks, which this system does not have")
    SESSION_FOLDERS.add(folder := tmp_path_factory.mktemp("warm_python"))
    warm = WarmPython(folder)
    yield warm
    warm.close()


@pytest.fixture
def warm_commands(warm_python: WarmPython, monkeypatch: pytest.MonkeyPatch) -> None:
    """The runs that a grid, a search or a comparison starts are forks, too; what is locked or killed is tried elsewhere."""

    def run_command(command: Sequence[str], output: int, lock: int | None) -> int:
        done = warm_python.run(command[1:], REPO)
        os.write(output, (done.stdout + done.stderr).encode())
        return done.returncode

    for module in ("curricula.pretraining", "label_efficiency.grid"):
        monkeypatch.setattr(f"monai_cxrssl.{module}.run_command", run_command)


@pytest.fixture(scope="session")
def made_once(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, Callable[[Path], object]], Path]:
    """``made_once(name, make)``: a folder that ``make(folder)`` fills for all workers of this run, who leave it alone."""
    own = tmp_path_factory.getbasetemp()
    shared = (own.parent if "PYTEST_XDIST_WORKER" in os.environ else own) / "made_once"
    shared.mkdir(exist_ok=True)
    SESSION_FOLDERS.add(shared)

    def made(name: str, make: Callable[[Path], object]) -> Path:
        folder, complete = shared / name, shared / f"{name}.complete"
        with FileLock(f"{folder}.lock"):
            if not complete.exists():
                shutil.rmtree(folder, ignore_errors=True)
                folder.mkdir()
                make(folder)
                complete.touch()
        return folder

    return made


@pytest.fixture(scope="session")
def phantom_dir(made_once) -> Path:
    """A small phantom data set; validation and test together have enough patients of each class for a probe."""
    from monai_cxrssl.phantom import make_phantom_dataset

    return made_once("phantom", lambda folder: make_phantom_dataset(folder, patients=64, size=128, progress=False))


@pytest.fixture(scope="session")
def few_films(made_once) -> Path:
    """A phantom data set that is drawn in seconds: enough for a run that need not learn."""
    from monai_cxrssl.phantom import make_phantom_dataset

    return made_once(
        "few_films",
        lambda folder: make_phantom_dataset(folder, patients=24, size=96, images_per_patient=(1, 2), progress=False),
    )


@pytest.fixture(scope="session", autouse=True)
def patient_salt(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Pseudonyms of patients neither depend on nor write into the settings of who runs the tests."""
    SESSION_FOLDERS.add(folder := tmp_path_factory.mktemp("salt"))
    os.environ["MONAI_CXRSSL_SALT_FILE"] = str(folder / "patient_salt")


@pytest.fixture
def free_port() -> int:
    """A TCP port of this machine that nothing listens on."""
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture(autouse=True)
def log_levels():
    """MONAI's workflows and some commands set levels of loggers for a process of their own; what comes next sees none."""
    loggers = [logging.getLogger(), logging.getLogger("monai_cxrssl")]
    levels = [logger.level for logger in loggers]
    yield
    for logger, level in zip(loggers, levels, strict=True):
        logger.setLevel(level)


@pytest.fixture(scope="session")
def dicom_errors():
    """What dciodvfy finds wrong in a DICOM file: lines; the test is skipped where it is not installed."""
    if shutil.which("dciodvfy") is None:
        pytest.skip("dciodvfy is not installed (apt-get install dicom3tools)")

    def errors(path) -> list[str]:
        result = subprocess.run(["dciodvfy", str(path)], capture_output=True, text=True, check=False)
        return [line for line in result.stderr.splitlines() if line.startswith("Error")]

    return errors
