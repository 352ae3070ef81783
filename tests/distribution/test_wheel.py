# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""The wheel and the sdist: what is in them, what an index shows of them, and that they work alone."""

from __future__ import annotations

import email
import re
import subprocess
import sys
import tarfile
import zipfile

import pytest

from tests.distribution.conftest import run

pytestmark = pytest.mark.slow

#: The tour of the README from a bundle to a pack, in one process, which imports torch once.
TOUR = """
import os, sys
os.environ["TQDM_DISABLE"] = "1"
import monai_cxrssl
assert "site-packages" in monai_cxrssl.__file__, monai_cxrssl.__file__
from monai_cxrssl.apps.cli.main import main
small = "--recipe short --image_size 32 --max_epochs 1 --num_workers 0 --batch_size 8".split()
for words in (
    ["bundle", "micle"],
    "phantom FILMS --patients 24 --size 64".split(),
    "index FILMS --out d.json".split(),
    "split d.json --out s.json".split(),
    ["train", "micle", "--datalist", "s.json", *small],
    ["train", "multitask", "--datalist", "s.json", "--pretrained", "bundles/micle/models/model.pt", *small],
    "evaluate multitask --datalist s.json --resamples 20 --max_checked 4".split(),
    "pack bundles/multitask --name chest_xray_multitask_segmentation --out dist".split(),
):
    assert main(words) == 0, words
"""


def test_checks_of_an_index(dist, repo):
    files = sorted(path for path in dist.iterdir() if path.suffix in (".whl", ".gz"))
    assert len(files) == 2
    run([sys.executable, "-m", "twine", "check", "--strict", *files], dist)
    run([sys.executable, "-m", "check_wheel_contents", "--config", repo / "pyproject.toml", *dist.glob("*.whl")], dist)


def test_every_file_of_the_package_and_of_the_bundles_is_in_the_wheel(wheel, dist, repo):
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    source = dist / "source"
    package = {f.relative_to(source).as_posix() for f in (source / "monai_cxrssl").rglob("*") if f.is_file()}
    tracked = subprocess.run(["git", "ls-files", "bundles"], cwd=repo, capture_output=True, text=True, check=True)
    bundles = {f"monai_cxrssl/{name}" for name in tracked.stdout.splitlines() if not name.endswith(".gitkeep")}
    assert {name for name in names if ".dist-info/" not in name} == package | bundles


def test_metadata(wheel):
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        metadata = email.message_from_bytes(archive.read(name))
    page = metadata.get_payload(decode=True).decode()
    targets = re.findall(r"\]\(([^)\s]+)\)", page)
    assert len(targets) > 30
    assert [target for target in targets if not target.startswith(("https://", "#"))] == []
    pictures = re.findall(r"!\[[^\]]*\]\(([^)\s]+)\)", page)
    assert all("/raw/" in picture for picture in pictures)
    assert {url.split(",")[0] for url in metadata.get_all("Project-URL")} >= {"Documentation", "Changelog", "Issues"}
    assert metadata["Home-page"]
    extras = set(metadata.get_all("Provides-Extra"))
    assert extras >= {"train", "report", "seg", "volumes", "export", "tracking", "all"}
    needed = metadata.get_all("Requires-Dist")
    base = {re.split(r"[<>=;\[ ]", text)[0].lower() for text in needed if "extra ==" not in text}
    assert "pydicom" in base
    assert not base & {"torch", "monai", "scipy", "matplotlib", "itk", "itk-core", "monai-cxrssl"}


def test_the_tour_from_an_installed_wheel(wheel, beside, tmp_path):
    """Beside the packages of this environment, but not its own copy of this one."""
    python, site = beside
    run([python, "-c", TOUR], tmp_path)
    assert (tmp_path / "dist" / "chest_xray_multitask_segmentation" / "SHA256SUMS").is_file()
    assert list((tmp_path / "bundles" / "multitask" / "runs").glob("*/report/index.html"))
    with zipfile.ZipFile(wheel) as archive:
        shipped = {name for name in archive.namelist() if "/bundles/" in name}
    left = {
        path.relative_to(site).as_posix() for path in (python.parents[1] / "lib").rglob("monai_cxrssl/bundles/**/*")
    }
    assert {name for name in left if "." in name.rpartition("/")[2] or name.endswith("LICENSE")} <= shipped


def test_an_editable_install_brings_every_tier_and_the_bundles_of_the_repository(dist, environment_of, tmp_path):
    """As the README's first command makes it, here without what it requires but the loader of the package's names."""
    source = dist / "source"
    python = environment_of(sys.executable, ["--no-deps", "lazy_loader", "packaging", "--editable", source])
    code = "import importlib.metadata as m; print(*(r for r in m.requires('monai-cxrssl') if 'extra' not in r))"
    assert "monai-cxrssl[all]" in run([python, "-c", code], tmp_path).split()
    told = run([python.with_name("monai-cxrssl"), "bundle", "micle"], tmp_path)
    assert told.strip() == "bundles/micle"
    origin = "from monai_cxrssl.apps.cli.bundles.folders import packaged_bundles; print(packaged_bundles())"
    assert run([python, "-c", origin], tmp_path).strip() == str((source / "bundles").resolve())


def test_the_tests_of_the_sdist_run(dist, tmp_path):
    (archive,) = dist.glob("*.tar.gz")
    with tarfile.open(archive) as packed:
        packed.extractall(tmp_path, filter="data")
    (folder,) = tmp_path.iterdir()
    assert not list(folder.glob("bundles/*/runs"))
    assert not list(folder.glob("bundles/*/models/*.pt"))
    words = ["-o", "addopts=", "-p", "no:cacheprovider", "-m", "not slow", "-q"]
    few = ["tests/test_errors.py", "tests/apps/cli/test_bundle_command.py", "tests/docs/test_options.py"]
    run([sys.executable, "-m", "pytest", *words, *few], folder)
