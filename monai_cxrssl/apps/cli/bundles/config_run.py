# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Run of a bundle's config with the overrides of a command line."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

__all__ = ["add_strict", "read_overrides", "read_value", "run_config"]


def add_strict(parser: argparse.ArgumentParser) -> None:
    """Declare ``--strict``."""
    parser.add_argument(
        "--strict",
        action="store_true",
        help="for a config from elsewhere: refuse any component, import or expression outside the allow-list before "
        "anything runs. It is no sandbox: paths, weights and data are not judged",
    )


def run_config(config_file: Any, options: dict[str, Any], words: Sequence[str], strict: bool) -> int:
    """Run a config.

    Args:
        config_file: one file or several, as ``monai.bundle.run`` takes them.
        options: values by id that override the config's.
        words: the words of the command line that the options were read from.
        strict: under the allow-list.

    Returns:
        The exit status.
    """
    from monai_cxrssl.runs.words_as_written import command_words

    with command_words(words):
        if strict:
            from monai_cxrssl.apps.strict.config import run_strict

            run_strict(config_file, **options)
        else:
            import monai.bundle

            monai.bundle.run(config_file=config_file, **options)
    return 0


def read_overrides(words: Sequence[str]) -> dict[str, Any]:
    """Read ``--id VALUE``, ``--id=VALUE``, or ``--id`` alone for True, as ``monai.bundle`` reads them.

    Raises:
        ConfigurationError: a word is no override.
    """
    from monai_cxrssl.errors import ConfigurationError

    overrides: dict[str, Any] = {}
    rest = list(words)
    while rest:
        word = rest.pop(0)
        if not word.startswith("--") or len(word) < 3:
            raise ConfigurationError(f"{word!r} is no override; expected --id VALUE.")
        name, sign, value = word[2:].partition("=")
        if not sign and rest and not rest[0].startswith("--"):
            sign, value = "=", rest.pop(0)
        overrides[name] = read_value(value) if sign else True
    return overrides


def read_value(text: str) -> Any:
    """Read a word as Fire does, with which ``monai.bundle`` reads its command line: a Python literal, else text."""
    from fire.parser import DefaultParseValue

    return DefaultParseValue(text)
