# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""The tutorials run from top to bottom as their page says, and their page names each of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.page_commands import commands_of

TUTORIALS = sorted((Path(__file__).parents[2] / "docs" / "tutorials").glob("*.py"))
LAST_LINES = {"pretrain_and_finetune": "none of the encoder", "reuse_transforms": "pixels corrupted"}


def test_page_names_each(repo):
    page = (repo / "docs/tutorials/index.md").read_text()
    assert commands_of(page) == [f"python docs/tutorials/{path.name}" for path in TUTORIALS]
    assert all(f"literalinclude}} {path.name}" in page for path in TUTORIALS)
    assert {path.stem for path in TUTORIALS} == LAST_LINES.keys()


@pytest.mark.slow
@pytest.mark.parametrize("tutorial", TUTORIALS, ids=lambda path: path.stem)
def test_tutorial(repo, tmp_path, warm_python, tutorial):
    words = [f"docs/tutorials/{tutorial.name}", "--folder", tmp_path / "out"]
    result = warm_python.run(words, repo, MPLBACKEND="Agg", TMPDIR=str(tmp_path))
    assert result.returncode == 0, result.stdout[-1500:] + result.stderr[-3000:]
    assert LAST_LINES[tutorial.stem] in result.stdout.splitlines()[-1]
