# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""The command bundle, and bundles of an installed package, which no run writes into."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

import monai_cxrssl
from monai_cxrssl.apps.cli.bundles import folders
from monai_cxrssl.apps.cli.bundles.command import find_config
from monai_cxrssl.apps.cli.main import main

BUNDLES = Path(__file__).parents[3] / "bundles"


@pytest.fixture
def installed(tmp_path, monkeypatch) -> Path:
    """A package as a wheel unpacks it, and a working folder beside it, which is the current one."""
    package, here = tmp_path / "site-packages" / "monai_cxrssl", tmp_path / "here"
    for name in ("micle", "multitask"):
        shutil.copytree(
            BUNDLES / name, package / "bundles" / name, ignore=shutil.ignore_patterns("runs", "models", "*.pt")
        )
    monkeypatch.setattr(folders, "_package", lambda: package)
    here.mkdir()
    monkeypatch.chdir(here)
    return package


def test_list_and_copy(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["bundle"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == sorted(path.parent.name for path in BUNDLES.glob("*/train.json"))
    assert "Chest X-ray pretraining by MICLe" in lines[[line.split()[0] for line in lines].index("micle")]
    assert main(["bundle", "micle"]) == 0
    assert capsys.readouterr().out == f"{Path('bundles/micle')}\n"
    for file in ("train.json", "LICENSE", "configs/recipes.json", "docs/README.md"):
        assert Path("bundles/micle", file).read_bytes() == (BUNDLES / "micle" / file).read_bytes()
    assert not list(Path("bundles/micle/models").iterdir())
    assert main(["bundle", "simclr", "of mine"]) == 0
    assert Path("of mine/simclr/train.json").is_file()


def test_a_copy_is_overwritten_on_demand_and_keeps_what_runs_wrote(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    main(["bundle", "micle"])
    Path("bundles/micle/train.json").write_text("{}")
    Path("bundles/micle/models/model.pt").write_text("weights")
    assert main(["bundle", "micle"]) == 2
    assert "bundles/micle exists already; give another folder, or --replace" in capsys.readouterr().err
    assert main(["bundle", "micle", "--replace"]) == 0
    assert Path("bundles/micle/train.json").read_bytes() == (BUNDLES / "micle" / "train.json").read_bytes()
    assert Path("bundles/micle/models/model.pt").read_text() == "weights"


def test_mistakes_are_one_sentence(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["bundle", "nothing"]) == 2
    assert "There is no bundle nothing in this package; choose classification, " in capsys.readouterr().err
    Path("file").write_text("")
    assert main(["bundle", "micle", "file"]) == 2
    assert "The bundle micle cannot be copied to file/micle: " in capsys.readouterr().err
    monkeypatch.chdir(BUNDLES.parent)
    assert main(["bundle", "micle", "--replace"]) == 2
    assert "bundles/micle is the package's own bundle" in capsys.readouterr().err


def test_a_run_copies_an_installed_bundle_first(installed, capsys, monkeypatch):
    pytest.importorskip("monai")
    ran = []
    monkeypatch.setattr("monai.bundle.run", lambda config_file, **options: ran.append((config_file, options)))
    assert main(["train", "micle", "--help"]) == 0
    assert str(Path("bundles/micle/models/model.pt")) in capsys.readouterr().out
    assert not list(Path().iterdir())
    for _ in range(2):
        assert main(["train", "micle", "--recipe", "short"]) == 0
    assert ran == [(str(Path("bundles/micle/configs/train.json")), {"recipe": "short"})] * 2
    assert capsys.readouterr().err.count("was copied to bundles/micle, where its runs and weights are kept.") == 1
    # A working folder with some bundles still finds the others.
    assert find_config("multitask", "evaluate") == Path("bundles/multitask/configs/evaluate.json")
    assert not (installed / "bundles" / "micle" / "runs").exists()


def test_version(capsys, monkeypatch):
    for program, name in (("/env/bin/monai-cxrssl", "monai-cxrssl"), ("x/__main__.py", "python -m monai_cxrssl")):
        monkeypatch.setattr("sys.argv", [program])
        with pytest.raises(SystemExit, match="0"):
            main(["--version"])
        assert capsys.readouterr().out == f"monai-cxrssl {monai_cxrssl.__version__}\n"
        with pytest.raises(SystemExit):
            main(["--help"])
        assert capsys.readouterr().out.startswith(f"usage: {name} ")
