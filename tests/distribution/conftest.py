# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""A wheel and an sdist of this repository, and environments to install the wheel into."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

#: Beginnings of variables by which the repository would stand in for the installed package, or this run for another.
HIDDEN = ("PYTHONPATH", "VIRTUAL_ENV", "PYTEST_")


@pytest.fixture(scope="session")
def dist(made_once, repo) -> Path:
    """The folder of the wheel and the sdist, as ``python -m build`` makes them of the repository's own files."""
    return made_once("dist", lambda folder: _build(repo, folder))


def _build(repo: Path, folder: Path) -> None:
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"], cwd=repo, capture_output=True, check=False
    )  # fmt: skip
    if listed.returncode:
        pytest.skip("not a git checkout, so its own files cannot be told from others")
    source = folder / "source"
    for name in filter(None, listed.stdout.decode().split("\0")):
        if (repo / name).is_file():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(repo / name, source / name)
    # What a run of whoever builds leaves behind.
    (source / "bundles" / "micle" / "models" / "model.pt").write_text("weights")
    (source / "bundles" / "micle" / "runs" / "one").mkdir(parents=True)
    (source / "bundles" / "micle" / "runs" / "one" / "run.json").write_text("{}")
    run([sys.executable, "-m", "build", "--outdir", folder, source], folder)
    shutil.rmtree(source / "monai_cxrssl.egg-info", ignore_errors=True)


@pytest.fixture(scope="session")
def wheel(dist) -> Path:
    """The wheel."""
    (found,) = dist.glob("*.whl")
    return found


@pytest.fixture(scope="session")
def environment_of(tmp_path_factory) -> Callable[..., Path]:
    """``environment_of(python, requirements, *options)``: the interpreter of a new environment with these packages."""
    uv = pytest.importorskip("uv").find_uv_bin()

    def made(python: str | os.PathLike, requirements: Sequence[str | Path], *options: str) -> Path:
        folder = tmp_path_factory.mktemp("environment") / "venv"
        run([uv, "venv", "--quiet", "--python", python, folder], folder.parent)
        interpreter = folder / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")
        command = [uv, "pip", "install", "--quiet", "--python", interpreter, *options]
        run([*command, *requirements], folder.parent, SSL_CERT_FILE=os.environ.get("PIP_CERT"))
        return interpreter

    return made


@pytest.fixture(scope="module")
def beside(wheel, environment_of, tmp_path_factory) -> tuple[Path, str]:
    """Interpreter and packages' folder of an environment with the wheel beside the packages of this one."""
    folder = tmp_path_factory.mktemp("beside")
    python = environment_of(sys.executable, ["--no-deps", wheel])
    site, here = (
        run([program, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"], folder).strip()
        for program in (python, sys.executable)
    )
    # A plain path: files of its own that put the repository on the path are not read.
    with open(f"{site}/beside.pth", "w") as file:
        file.write(here + "\n")
    return python, site


def clean_environment(**variables: str | None) -> dict[str, str]:
    """Return the variables of this process without what would put the repository in front of an installed package."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(HIDDEN)}
    return kept | {name: value for name, value in variables.items() if value is not None}


def run(words: Sequence[str | Path], folder: Path, status: int = 0, **variables: str | None) -> str:
    """Run a program in a folder without the repository on its path; return what it said, both streams together."""
    kept = clean_environment(**variables)
    done = subprocess.run(
        [str(word) for word in words], cwd=folder, env=kept, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=600
    )  # fmt: skip
    assert done.returncode == status, done.stdout[-4000:]
    return done.stdout
