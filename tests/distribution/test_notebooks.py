# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""The tutorials' notebooks run from an installed wheel, in an empty folder, and say what came out."""

from __future__ import annotations

import base64
import io
import shutil

import numpy as np
import pytest

pytest.importorskip("nbclient", reason="needs the extra test")

from PIL import Image

from tests.distribution.conftest import clean_environment, run
from tests.docs.notebooks import NOTEBOOKS, code_cells, pictures, run_notebooks, unsupported_numbers

pytestmark = pytest.mark.slow

IMPORTED = "import monai_cxrssl; assert 'site-packages' in monai_cxrssl.__file__, monai_cxrssl.__file__"


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook(path, beside, tmp_path):
    import nbformat

    folder = tmp_path / "empty"
    folder.mkdir()
    python, _ = beside
    # Its cache of fonts, of which matplotlib says so when it makes it.
    run([python, "-c", "import matplotlib.font_manager"], tmp_path)
    committed = nbformat.read(path, as_version=4)
    copy = nbformat.from_dict(committed)
    copy.cells.insert(0, nbformat.v4.new_code_cell(IMPORTED))
    nbformat.write(copy, tmp_path / path.name)
    settings = clean_environment(IPYTHONDIR=str(tmp_path / "ipython"))
    executed = run_notebooks.execute(tmp_path / path.name, folder, python, settings)
    for cell in code_cells(executed):
        for output in cell.outputs:
            assert output.output_type != "error"
            assert output.get("name") != "stderr", output.text
    assert unsupported_numbers(executed) == []
    drawn = [Image.open(io.BytesIO(base64.b64decode(picture))).convert("L") for picture in pictures(executed)]
    assert len(drawn) == len(pictures(committed))
    assert all(np.asarray(picture).std() > 5 for picture in drawn)
    written = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
    assert written < 250_000_000
    shutil.rmtree(tmp_path)
