# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""The sex of patients in the words of several languages."""

from __future__ import annotations

from pathlib import Path

import pytest

from monai_cxrssl.data.sources.tables.sex_words import read_sexes


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        (["M", "f", "", None], ["M", "F", None, None]),
        (["Male", "FEMALE ", "Other"], ["M", "F", "O"]),
        (["männlich", "weiblich", "divers"], ["M", "F", "O"]),
        (["m", "w"], ["M", "F"]),
        (["H", "M"], ["M", "F"]),
        (["H", "F"], ["M", "F"]),
        (["M", "K"], ["M", "F"]),
        (["E", "K"], ["M", "F"]),
        (["homme", "femme"], ["M", "F"]),
        (["Varón", "Mujer"], ["M", "F"]),
        (["男", "女"], ["M", "F"]),
        (["мужской", "женский"], ["M", "F"]),
        # What these mean is not certain.
        (["1", "2"], [None, None]),
        (["V", "M"], [None, None]),
    ],
)
def test_words(texts, expected, caplog):
    assert read_sexes(Path("t.csv"), texts) == expected
    uncertain = sum(bool(text) and found is None for text, found in zip(texts, expected, strict=True))
    assert (f"{uncertain} cells of sex are no certain words" in caplog.text) == bool(uncertain)
