# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Text options as typed, before Fire reads them as Python.

``monai.bundle run`` reads its words by Fire: the folder ``2023`` becomes a number, ``films,old`` a tuple, ``1e5`` a
float and ``a#b`` an ``a``; then a text that begins with ``@`` is a reference for MONAI. A path is none of these.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

__all__ = ["command_words", "typed_words", "words_as_written", "words_of_command", "words_without"]

_COMMAND: ContextVar[Sequence[str] | None] = ContextVar("command", default=None)


@contextmanager
def command_words(words: Sequence[str]) -> Iterator[None]:
    """Take these words, in this context, for the command line in place of the process's own."""
    token = _COMMAND.set(words)
    try:
        yield
    finally:
        _COMMAND.reset(token)


def words_as_written(values: Mapping[str, Any], names: Collection[str]) -> dict[str, Any]:
    """Put the words of the command line, this process's or :func:`command_words`, in place of what was made of them.

    Args:
        values: values by option.
        names: the options whose value is text.

    Returns:
        All values, those named as they were typed if they were typed.
    """
    typed = words_of_command()
    return {
        name: typed[name] if name in names and name in typed and not _is_list(typed[name]) else value
        for name, value in values.items()
    }


def words_of_command() -> dict[str, str]:
    """Return the texts of the options of the command line, this process's or :func:`command_words`."""
    command = _COMMAND.get()
    return typed_words(sys.argv[1:] if command is None else command)


def typed_words(words: Sequence[str]) -> dict[str, str]:
    """Return the text of each ``--name text`` and ``--name=text``; ``none`` and an option without text are left out."""
    typed = {}
    for number, word in enumerate(words):
        if not word.startswith("--"):
            continue
        name, sign, text = word[2:].partition("=")
        if not sign:
            if number + 1 == len(words) or words[number + 1].startswith("--"):
                continue
            text = words[number + 1]
        if text != "None":
            typed[name] = text
    return typed


def words_without(words: Sequence[str], names: Collection[str]) -> list[str]:
    """Return the words of a command line without some options and their values."""
    kept: list[str] = []
    leaving = False
    for word in words:
        if word.startswith("--"):
            leaving = word[2:].partition("=")[0] in names
        if not leaving:
            kept.append(word)
    return kept


def _is_list(text: str) -> bool:
    """Whether a text is a list of texts as the docs write it."""
    try:
        value = ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return False
    return isinstance(value, list) and all(isinstance(part, str) for part in value)
