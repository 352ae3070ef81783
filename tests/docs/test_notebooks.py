# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""The committed notebooks of the tutorials; tests/distribution/test_notebooks.py runs them."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

import pytest

nbformat = pytest.importorskip("nbformat", reason="needs the extra test")

from tests.docs.notebooks import NOTEBOOKS, code_cells, pictures, prose, run_notebooks, unsupported_numbers  # noqa: E402
from tests.docs.test_site import SPELT_RIGHT, anchors, links  # noqa: E402
from tests.page_commands import commands_of  # noqa: E402

#: Bytes of one with its pictures.
LARGEST = 600_000
#: Of the machine that ran it, of a bar, of a clock.
DEBRIS = re.compile(r"/(?:home|root|work|tmp|Users|opt|usr)/|[\w.-]+/site-packages|\d+%\|| it/s|\x1b\[|\d\d:\d\d:\d\d")
NAMES = [path.stem for path in NOTEBOOKS]


@pytest.fixture(params=NOTEBOOKS, ids=NAMES)
def path(request) -> Path:
    return request.param


def test_there_are_five_and_the_page_names_each(repo):
    page = repo / "docs" / "tutorials" / "index.md"
    assert len(NOTEBOOKS) == 5
    assert [link for link in links(page) if link.endswith(".ipynb")] == [path.name for path in NOTEBOOKS]
    assert re.findall(r"^0\d_\w+$", page.read_text(encoding="utf-8"), flags=re.MULTILINE) == NAMES
    assert commands_of(page.read_text(encoding="utf-8"))[-1] == "python docs/run_notebooks.py"


def test_committed_as_executed(path):
    notebook = nbformat.read(path, as_version=nbformat.NO_CONVERT)
    nbformat.validate(notebook)
    assert (notebook.nbformat, notebook.nbformat_minor) >= (4, 5)
    assert notebook.metadata == run_notebooks.METADATA
    assert path.stat().st_size < LARGEST
    cells = code_cells(notebook)
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    assert all(cell.metadata == {} for cell in notebook.cells)
    for cell in cells:
        for output in cell.outputs:
            assert output.output_type != "error"
            assert output.get("name") != "stderr"
            assert not DEBRIS.search(
                str(output.get("text", "")) + str({k: v for k, v in output.get("data", {}).items() if "image" not in k})
            )
    assert len(pictures(notebook)) >= 4


def test_cells_are_led_up_to(path):
    """A reader is told before each step what comes; a cell of code follows another only to show what that one made."""
    kinds = [cell.cell_type[0] for cell in nbformat.read(path, as_version=4).cells]
    assert kinds[0] == kinds[-1] == "m"
    assert "ccccc" not in "".join(kinds)
    assert kinds.count("m") >= 6


def test_numbers_of_the_prose_are_in_code_or_outputs(path):
    assert unsupported_numbers(nbformat.read(path, as_version=4)) == []


def test_a_number_that_did_not_come_out_is_found():
    cell = nbformat.v4.new_code_cell("print(0.5 + 7)", outputs=[nbformat.v4.new_output("stream", text="7.5")])
    text = nbformat.v4.new_markdown_cell(
        "# 3. Title\n\nIt is 7.5, or 8 [here](9.md), `10` with 0.5 of ResNet-18, and 42."
    )
    assert unsupported_numbers(nbformat.v4.new_notebook(cells=[text, cell])) == ["8", "42"]


def test_links_and_spelling(path, tmp_path):
    text = prose(nbformat.read(path, as_version=4))
    page = tmp_path / f"{path.stem}.md"
    page.write_text(text, encoding="utf-8")
    for link in links(page):
        parts = urlsplit(link)
        target = path.parent / parts.path
        assert parts.scheme == "https" or target.is_file(), link
        assert not parts.fragment or parts.fragment in anchors(target), link
    assert "**For your" in text
    assert not re.search(r"\bfilms?\b", text)
    words = [sys.executable, "-m", "codespell_lib", "--ignore-words-list", SPELT_RIGHT, page]
    pytest.importorskip("codespell_lib")
    result = subprocess.run([str(word) for word in words], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout


def test_pictures_are_made_small_and_stay_alike():
    np = pytest.importorskip("numpy")
    from PIL import Image

    pixels = np.repeat(np.arange(256, dtype=np.uint8)[None, :, None], 64, axis=0).repeat(3, axis=2)
    pixels[20:22] = (255, 127, 14)
    shown = np.asarray(run_notebooks._with_palette(Image.fromarray(pixels)).convert("RGB")).astype(int)
    assert np.abs(shown - pixels).max() <= 3
    assert (shown[20:22] == (255, 127, 14)).all()
    assert (shown[0, [0, 255]] == [[0] * 3, [255] * 3]).all()
