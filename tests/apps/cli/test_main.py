# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
import subprocess
import sys

import pytest

from monai_cxrssl.apps.cli.main import main


def test_from_phantom_to_audit(tmp_path, capsys):
    assert main(["phantom", str(tmp_path / "p"), "--patients", "12", "--size", "128"]) == 0
    listed, parts = str(tmp_path / "p" / "d.json"), tmp_path / "p" / "s.json"
    assert main(["index", str(tmp_path / "p"), "--out", listed]) == 0
    assert main(["split", listed, "--out", str(parts), "--ignore_official", "--seed", "1"]) == 0
    assert main(["split", listed, "--out", str(parts), "--ignore_official", "--folds", "3"]) == 0
    assert parts.with_name("s_fold2.json").exists()
    found = tmp_path / "f.json"
    assert main(["audit", str(parts), "--json", str(found)]) == 0
    assert not json.loads(found.read_text())["has_leak"]
    content = json.loads(parts.read_text())
    content["test"].append({**content["training"].pop(), "patient_id": content["training"][0]["patient_id"]})
    parts.write_text(json.dumps(content))
    assert main(["audit", str(parts), "--no-pixels"]) == 1
    assert "leak" in capsys.readouterr().out


def test_wrong_use_is_one_sentence(tmp_path, capsys):
    assert main(["index", str(tmp_path / "none"), "--out", str(tmp_path / "d.json")]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert error.count("\n") == 1
    assert not (tmp_path / "d.json").exists()
    with pytest.raises(SystemExit) as stopped:
        main(["split"])
    assert stopped.value.code == 2


def test_help_needs_no_torch():
    code = "import sys; from monai_cxrssl.apps.cli.main import main\ntry: main(['--help'])\nfinally: assert 'torch' not in sys.modules"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "audit" in done.stdout
