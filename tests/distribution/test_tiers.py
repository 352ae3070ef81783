# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""What runs without the optional packages, and the sentence where one is missing."""

from __future__ import annotations

import configparser
import importlib.metadata
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from monai_cxrssl.tiers import TIERS
from tests.distribution.conftest import run

#: Module by distribution, where their names differ.
MODULES = {
    "pytorch-ignite": "ignite", "scikit-learn": "sklearn", "pyyaml": "yaml", "itk-core": "itk", "itk-io": "itk",
    "mlflow-skinny": "mlflow", "segmentation-models-pytorch": "segmentation_models_pytorch",
}  # fmt: skip
#: Nothing is compiled here.
WHEELS = ("--only-binary", ":all:")
#: A program in which packages are not to be found.
BLOCK = """
import sys
from importlib.machinery import PathFinder

class Blocked:
    find_distributions = PathFinder.find_distributions

    @staticmethod
    def find_spec(name, path=None, target=None):
        return None if name.partition(".")[0] in {absent} else PathFinder.find_spec(name, path, target)

sys.meta_path[:] = [Blocked if finder is PathFinder else finder for finder in sys.meta_path]
"""
LIGHT = (
    "phantom images --patients 4 --size 64",
    "index images --out d.json",
    "label d.json t.csv --out l.json --match film=file --label_column finding --replace",
    "split d.json --out s.json",
    "audit s.json --phi",
    "show d.json --out sheet.png",
    "show d.json --left_out --out left_out.png",
    "cache d.json --out cache --side 64",
    "cache --out cache --verify",
    "bundle micle mine",
    "train --help",
)


def label_table(folder: Path) -> None:
    (folder / "t.csv").write_text("film,finding\nPHANTOM00000_1_PA,ill\nPHANTOM00000_1_AP,ill\n")


def blocked(code: str, folder: Path, *installed: str) -> subprocess.CompletedProcess[str]:
    """Run code in an environment of the base, and of these tiers."""
    program = BLOCK.format(absent={module for module, tier in TIERS.items() if tier not in installed}) + code
    return subprocess.run([sys.executable, "-c", program], cwd=folder, capture_output=True, text=True, check=False)


def test_the_table_of_modules_is_that_of_setup_cfg(repo):
    config = configparser.ConfigParser()
    config.read(repo / "setup.cfg")
    extras = config["options.extras_require"]
    base = set(_modules(config["options"]["install_requires"]))
    tiers = {}
    # From the largest to the smallest: one that is part of others is named by itself.
    for tier in ("tracking", "export", "volumes", "seg", "train", "report"):
        tiers |= dict.fromkeys(_modules(extras[tier]), tier)
    assert tiers == TIERS
    assert not base & TIERS.keys()
    assert set(_modules(extras["all"])) == TIERS.keys()


def _modules(text: str) -> list[str]:
    names = [re.split(r"[<>=;]", line)[0].strip() for line in text.split("\n") if line.strip()]
    return [MODULES.get(name, name.replace("-", "_")) for name in names if not name.startswith("#")]


def test_light_commands_run_without_the_tiers(tmp_path):
    label_table(tmp_path)
    code = "import monai_cxrssl\nfrom monai_cxrssl.apps.cli.main import main\n"
    code += "".join(f"assert main({words.split()!r}) == 0, {words!r}\n" for words in LIGHT)
    done = blocked(code, tmp_path)
    assert done.returncode == 0, done.stderr[-3000:]
    assert (tmp_path / "sheet.png").stat().st_size > 10_000


@pytest.mark.parametrize(
    ("words", "tier"),
    [
        ("train micle --recipe short", "train"),
        ("evaluate multitask", "train"),
        ("predict multitask", "train"),
        (
            "fractions --bundle classification --dataset_dir d --fractions 1 --init random --draws 1 --output_dir o",
            "train",
        ),
        ("tune classification --tune learning_rate --output_dir o --dataset_dir d", "train"),
        ("weights model.pt", "train"),
        ("export model.pt", "train"),
        ("pack bundles/x --name x --out dist", "train"),
        ("run --config_file x.json", "train"),
        ("report --predictions a.csv --out r", "report"),
    ],
)
def test_commands_name_the_tier_that_they_lack(words, tier, tmp_path):
    done = blocked(f"from monai_cxrssl.apps.cli.main import main\nsys.exit(main({words.split()!r}))", tmp_path)
    assert done.returncode == 2, done.stderr[-3000:]
    (line,) = done.stderr.splitlines()
    found = re.fullmatch(
        r'error: This needs (\w+), which is not installed: pip install "monai-cxrssl\[(\w+)\]"\.', line
    )
    assert found, line
    assert TIERS[found[1]] == found[2] == tier
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("statement", "tier"),
    [
        ("from monai_cxrssl import Encoder", "train"),
        ("import monai_cxrssl; monai_cxrssl.LoadCXRd", "train"),
        ("from monai_cxrssl.data import training_loader", "train"),
        ("from monai_cxrssl import roc_auc", "report"),
        ("from monai_cxrssl import write_report", "report"),
        ("from monai_cxrssl import tuning; tuning.plan_rungs", "train"),
        (
            "import numpy; from monai_cxrssl import write_lung_seg; write_lung_seg(numpy.zeros((2, 2)), 'a.dcm', 'b.dcm')",
            "seg",
        ),
    ],
)  # fmt: skip
def test_names_of_the_package_name_the_tier_that_they_lack(statement, tier, tmp_path):
    code = (
        "from monai_cxrssl.errors import MissingTierError\n"
        f"try: exec({statement!r})\nexcept MissingTierError as error: print(error.tier)"
    )
    done = blocked(code, tmp_path)
    assert done.stdout.split() == [tier], done.stderr[-3000:]


def test_a_report_on_predictions_needs_no_torch(tmp_path):
    chances = [(n % 5 + 3 * (n % 2)) / 8 for n in range(24)]
    rows = [f"{n}.png,{n},test,multi_class,{1 - n % 2},{n % 2},{1 - p},{p}" for n, p in enumerate(chances)]
    head = "image,patient_id,split,task,label:a,label:b,p:a,p:b"
    (tmp_path / "p.csv").write_text("\n".join([head, *rows]))
    words = ["report", "--predictions", "p.csv", "--out", "r", "--resamples", "20"]
    code = f"from monai_cxrssl.apps.cli.main import main\nsys.exit(main({words}))"
    pytest.importorskip("jinja2")
    done = blocked(code, tmp_path, "report")
    assert done.returncode == 0, done.stderr[-3000:]
    assert (tmp_path / "r" / "index.html").is_file()


def test_a_volume_without_itk_is_left_out_with_the_remedy(tmp_path):
    header = "ObjectType = Image\nNDims = 2\nDimSize = 40 40\nElementType = MET_UCHAR\nElementDataFile = LOCAL\n"
    (tmp_path / "film.mha").write_bytes(header.encode() + bytes(range(200)) * 8)
    done = blocked("from monai_cxrssl import read_cxr\nread_cxr('film.mha')", tmp_path)
    assert done.stderr.splitlines()[-1].endswith(
        'is read by itk, which is not installed. To read it: pip install "monai-cxrssl[volumes]".'
    )


@pytest.mark.slow
def test_the_base_tier_is_light_and_enough(wheel, environment_of, tmp_path):
    python = environment_of(sys.executable, [wheel], *WHEELS)
    site = Path(run([python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"], tmp_path).strip())
    assert not {"torch", "monai", "scipy", "itk"} & {path.name for path in site.iterdir()}
    files = [path for path in site.rglob("*") if path.is_file()]
    # Files that pip compiles, 66 MB, not counted: 500 MB with them.
    assert sum(path.stat().st_size for path in files) < 430e6
    label_table(tmp_path)
    script = python.with_name("monai-cxrssl")
    version = importlib.metadata.version("monai-cxrssl")
    assert run([script, "--version"], tmp_path) == f"monai-cxrssl {version}\n"
    code = "from monai_cxrssl.apps.cli.main import main\n"
    run([python, "-c", code + "".join(f"assert main({words.split()!r}) == 0\n" for words in LIGHT)], tmp_path)
    told = run([script, "train", "micle"], tmp_path, status=2)
    assert told == 'error: This needs monai, which is not installed: pip install "monai-cxrssl[train]".\n'


#: Fast, and of the parts in which packages differ between their versions.
LIGHT_SUITE = (
    "tests/data/reading/test_as_displayed.py", "tests/data/audit/test_contact_sheet.py", "tests/data/datalists/test_masks.py",
    "tests/apps/cli/test_bundle_command.py", "tests/test_errors.py",
)  # fmt: skip


def pythons() -> list[tuple[str, str]]:
    """Pythons of this machine other than this one, and which versions of the direct requirements each gets."""
    places = [Path(folder) for folder in os.environ.get("PATH", "").split(os.pathsep)]
    places += sorted((Path.home() / ".pyenv" / "versions").glob("3.*/bin"))
    found: dict[str, str] = {}
    for minor in range(10, 14):
        for place in reversed(places):
            if (place / f"python3.{minor}").exists() and "shims" not in place.parts and minor != sys.version_info[1]:
                found[f"3.{minor}"] = str(place / f"python3.{minor}")
    return [(python, "lowest-direct" if version == min(found) else "highest") for version, python in found.items()]


@pytest.mark.slow
@pytest.mark.parametrize(("python", "resolution"), pythons(), ids=lambda text: Path(text).name)
def test_light_suite_on_other_pythons(python, resolution, wheel, environment_of, repo):
    """The oldest Python with the lowest versions that setup.cfg allows, the others with the newest that there are."""
    config = configparser.ConfigParser()
    config.read(repo / "setup.cfg")
    direct = [line for line in config["options"]["install_requires"].split("\n") if line]
    tests = ["pytest>=8", "openpyxl>=3.1"]
    interpreter = environment_of(python, [*direct, *tests], *WHEELS, "--resolution", resolution)
    words = ["-o", "addopts=", "-p", "no:cacheprovider", "-m", "not slow", "-q", *LIGHT_SUITE]
    said = run([interpreter, "-m", "pytest", *words], repo)
    assert int(re.findall(r"(\d+) passed", said)[-1]) > 150, said[-2000:]
