# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pickle

import pytest

from monai_cxrssl import errors

#: Those that make their sentence themselves.
ARGUMENTS = {"CXRSSLError", "CXRReadError", "MissingTierError"}


@pytest.mark.parametrize("name", [name for name in errors.__all__ if name not in ARGUMENTS])
def test_each_is_of_the_package_and_of_a_builtin(name):
    error = getattr(errors, name)("a sentence")
    assert isinstance(error, errors.CXRSSLError)
    assert isinstance(error, ValueError | RuntimeError | OSError)
    assert str(error) == "a sentence"


def test_read_error_survives_a_worker_process():
    error = errors.CXRReadError("a/b.png", "is a text file", "Remove it.")
    again = pickle.loads(pickle.dumps(error))
    assert (again.path, again.cause, again.remedy) == ("a/b.png", "is a text file", "Remove it.")
    assert str(again) == "a/b.png: is a text file. Remove it."


def test_missing_tier_survives_a_worker_process():
    error = errors.MissingTierError("itk", "volumes")
    again = pickle.loads(pickle.dumps(error))
    assert isinstance(again, ImportError)
    assert (again.name, again.tier, again.remedy) == ("itk", "volumes", 'pip install "monai-cxrssl[volumes]"')
    assert str(again) == 'This needs itk, which is not installed: pip install "monai-cxrssl[volumes]".'


def test_read_error_of_an_odd_name_is_one_line():
    assert "\n" not in str(errors.CXRReadError("odd\nname.png", "is empty"))
    assert "\\udcff" in str(errors.CXRReadError("\udcff.png", "is empty"))
