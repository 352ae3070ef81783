# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Exceptions whose messages say what, where and what to do."""

from __future__ import annotations

import os
import re

__all__ = [
    "CXRSSLError", "CXRReadError", "DatalistError", "ConfigurationError", "MissingTierError", "OptionError",
    "TrainingError",
]  # fmt: skip


class CXRSSLError(Exception):
    """Base of every error that this package raises on purpose; its text is meant for the person at the keyboard."""


class CXRReadError(CXRSSLError, OSError):
    """A file cannot be read as one chest X-ray.

    Args:
        path: the file.
        cause: what was found in it, as half a sentence ("is a text file").
        remedy: what the reader of the message can do about it.
    """

    def __init__(self, path: str | os.PathLike, cause: str = "", remedy: str = "") -> None:
        self.path = os.fspath(path)
        # A library names the buffer it was given, whose address tells nobody anything and differs in every run.
        self.cause = cause = re.sub(r" <[^<>]* object at 0x[0-9a-fA-F]+>", "", cause)
        self.remedy = remedy
        # A file name may hold newlines or undecodable bytes, which would break a log line.
        shown = self.path.encode("utf-8", "backslashreplace").decode("utf-8").replace("\n", "\\n")
        text = shown if not cause else f"{shown}: {cause}."
        super().__init__(text + (f" {remedy}" if remedy else ""))

    def __reduce__(self):
        # DataLoader workers hand exceptions over by pickle; OSError's own rule would lose the fields.
        return type(self), (self.path, self.cause, self.remedy)


class DatalistError(CXRSSLError, ValueError):
    """A datalist, a data folder or a table of labels does not hold what it must."""


class ConfigurationError(CXRSSLError, ValueError):
    """An option has a value that cannot work."""


class OptionError(ConfigurationError):
    """An option has a name or a value that cannot be; nothing was read or trained yet."""


class TrainingError(CXRSSLError, RuntimeError):
    """A run cannot go on, for instance because the loss is not finite."""


class MissingTierError(CXRSSLError, ModuleNotFoundError):
    """A package is not installed that one of the extras installs.

    Args:
        module: top-level module that is missing.
        tier: name of the extra.
    """

    def __init__(self, module: str, tier: str) -> None:
        self.tier, self.remedy = tier, f'pip install "monai-cxrssl[{tier}]"'
        super().__init__(f"This needs {module}, which is not installed: {self.remedy}.", name=module)

    def __reduce__(self):
        return type(self), (self.name, self.tier)
