# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import logging

import pytest

from monai_cxrssl.errors import ConfigurationError
from monai_cxrssl.runs import open_run_log


def test_run_log(tmp_path, caplog):
    root = logging.getLogger()
    before = list(root.handlers)
    try:
        with caplog.at_level(logging.INFO):
            open_run_log(tmp_path / "out")
            open_run_log(tmp_path / "out")
        assert len(root.handlers) == len(before) + 1
        assert "monai 1.6" in (tmp_path / "out" / "log.txt").read_text()
    finally:
        for handler in [handler for handler in root.handlers if handler not in before]:
            root.removeHandler(handler)
            handler.close()


def test_output_dir_that_is_a_file(tmp_path):
    (tmp_path / "out").write_text("")
    with pytest.raises(ConfigurationError, match="cannot be written"):
        open_run_log(tmp_path / "out")
