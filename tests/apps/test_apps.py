# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import subprocess
import sys

import pytest
from monai.utils import OptionalImportError

from monai_cxrssl.apps import clear_sentence
from monai_cxrssl.errors import ConfigurationError, CXRReadError, DatalistError


def raised(error, *causes):
    """An exception with a chain of causes."""
    try:
        if causes:
            raise error from raised(*causes)
        raise error
    except Exception as caught:
        return caught


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (raised(DatalistError("no images")), "no images"),
        (raised(RuntimeError("config"), RuntimeError("more"), ConfigurationError("bad option")), "bad option"),
        (
            raised(RuntimeError("config"), CXRReadError("a.png", "is empty", "Remove it.")),
            "a.png: is empty. Remove it.",
        ),
        (
            raised(RuntimeError("config"), OptionalImportError("import mlflow (No module named 'mlflow').")),
            'This needs mlflow, which is not installed: pip install "monai-cxrssl[tracking]".',
        ),
        (raised(OptionalImportError("import itk")), None),
        (
            raised(RuntimeError("config"), ModuleNotFoundError("No module named 'monai'", name="monai")),
            'This needs monai, which is not installed: pip install "monai-cxrssl[train]".',
        ),
        (raised(ModuleNotFoundError("No module named 'monai.more'", name="monai.more")), None),
        (raised(RuntimeError("a defect")), None),
        (None, None),
    ],
)
def test_clear_sentence(error, sentence):
    assert clear_sentence(error) == sentence


SCRIPT = """
import sys
from monai_cxrssl.apps import install_clear_errors
from monai_cxrssl.runs import open_run_log
from monai_cxrssl.errors import ConfigurationError
install_clear_errors()
install_clear_errors()
open_run_log(sys.argv[1])
try:
    raise {error}
except Exception as error:
    raise RuntimeError("internals of a config") from error
"""


@pytest.mark.parametrize(
    ("error", "clear"), [("ConfigurationError('one sentence')", True), ("KeyError('defect')", False)]
)
def test_process_ends_with_one_sentence(error, clear, tmp_path):
    result = subprocess.run(
        [sys.executable, "-c", SCRIPT.format(error=error), str(tmp_path)], capture_output=True, text=True, check=False
    )
    assert result.returncode == 1
    if clear:
        assert result.stderr.strip() == "error: one sentence"
        assert "internals of a config" in (tmp_path / "log.txt").read_text()
    else:
        assert "Traceback" in result.stderr
