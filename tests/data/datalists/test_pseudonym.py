# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import hashlib
import hmac
import os
import stat
from concurrent.futures import ThreadPoolExecutor

import pytest

from monai_cxrssl.data.datalists.pseudonym import SALT_VARIABLE, pseudonym, read_salt, salt_path
from monai_cxrssl.errors import ConfigurationError


def test_is_the_keyed_hash():
    expected = hmac.digest(b"k" * 32, "patient\nÄ 4711".encode(), hashlib.sha256).hex()[:16]
    assert pseudonym("Ä 4711", b"k" * 32) == f"patient-{expected}"
    assert pseudonym("\udcff", b"k" * 32) != pseudonym("?", b"k" * 32)
    assert pseudonym("1", b"k" * 32).split("-")[1] != pseudonym("1", b"k" * 32, "study").split("-")[1]


def test_no_two_of_many_meet():
    assert len({pseudonym(str(number), b"k" * 32) for number in range(20_000)}) == 20_000


def test_salt_is_drawn_once_and_private(tmp_path):
    path = tmp_path / "a" / "salt"
    with ThreadPoolExecutor(8) as pool:
        salts = set(pool.map(lambda _: read_salt(path), range(32)))
    assert salts == {path.read_bytes().strip()}
    assert len(bytes.fromhex(salts.pop().decode())) == 32
    assert [each.name for each in path.parent.iterdir()] == ["salt"]
    if os.name == "posix":
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_where_the_salt_is(tmp_path, monkeypatch):
    monkeypatch.setenv(SALT_VARIABLE, str(tmp_path / "named"))
    assert salt_path() == tmp_path / "named"
    assert salt_path(tmp_path / "given") == tmp_path / "given"
    monkeypatch.delenv(SALT_VARIABLE)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    assert salt_path() == tmp_path / "monai_cxrssl" / "patient_salt"


def test_bad_salts_are_refused(tmp_path):
    (tmp_path / "short").write_text("abc\n")
    with pytest.raises(ConfigurationError, match="holds 3 bytes"):
        read_salt(tmp_path / "short")
    with pytest.raises(ConfigurationError, match="neither read nor written"):
        read_salt(tmp_path / "short" / "below a file")
    (tmp_path / "folder").mkdir()
    with pytest.raises(ConfigurationError, match="neither read nor written"):
        read_salt(tmp_path / "folder")
