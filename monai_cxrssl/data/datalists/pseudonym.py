# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Salted pseudonyms of the ids in DICOM headers.

A PatientID is a hospital's number, and a StudyInstanceUID leads to its archive. A pseudonym is a keyed hash
(HMAC-SHA-256, cut to 64 bits) of the id. Its key, the salt, stays in one private file of the user, so that images of
one patient stay together over archives and repeated indexing; without the file nobody can try out ids.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
from pathlib import Path

from monai_cxrssl.errors import ConfigurationError

__all__ = ["SALT_VARIABLE", "pseudonym", "read_salt", "salt_path"]

SALT_VARIABLE = "MONAI_CXRSSL_SALT_FILE"
_LEAST_BYTES = 16


def salt_path(salt_file: str | os.PathLike | None = None) -> Path:
    """The file of the salt: the one given, else that of the environment variable, else one in the user's settings."""
    given = salt_file or os.environ.get(SALT_VARIABLE)
    if given:
        return Path(given).expanduser()
    settings = os.environ.get("XDG_CONFIG_HOME") or "~/.config"
    return Path(settings).expanduser() / "monai_cxrssl" / "patient_salt"


def read_salt(salt_file: str | os.PathLike | None = None) -> bytes:
    """Return the salt, which is drawn when its file does not exist yet; only the user may read that file.

    Raises:
        ConfigurationError: the file can be neither read nor written, or holds less than a salt.
    """
    path = salt_path(salt_file)
    try:
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            # Written whole under another name, and linked: of processes that start together one wins.
            draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
            with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="ascii") as file:
                file.write(secrets.token_hex(32) + "\n")
            try:
                os.link(draft, path)
            except FileExistsError:
                pass
            finally:
                draft.unlink()
        salt = path.read_bytes().strip()
    except OSError as error:
        raise ConfigurationError(
            f"The salt of patient pseudonyms, {path}, can be neither read nor written ({error.strerror}); name another "
            f"place in the environment variable {SALT_VARIABLE}, or index with --patient_ids original."
        ) from None
    if len(salt) < _LEAST_BYTES:
        raise ConfigurationError(
            f"The salt of patient pseudonyms, {path}, holds {len(salt)} bytes, expected at least {_LEAST_BYTES}; put "
            "the right file back, or remove it for a new one, which gives every patient another pseudonym."
        )
    return salt


def pseudonym(text: str, salt: bytes, kind: str = "patient") -> str:
    """Return what stands for an id: its kind and 16 hexadecimal digits, such as ``"patient-3f0a…"``.

    ``salt`` is that of :func:`read_salt`; ids of two kinds that are the same text have two pseudonyms.

    Example:
        >>> pseudonym("4711", b"0" * 16) == pseudonym("4711", b"0" * 16) != pseudonym("4712", b"0" * 16)
        True
    """
    digest = hmac.new(salt, f"{kind}\n{text}".encode("utf-8", "surrogatepass"), hashlib.sha256).hexdigest()
    return f"{kind}-{digest[:16]}"
