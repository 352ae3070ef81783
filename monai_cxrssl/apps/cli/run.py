# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Run a bundle's config, with --strict under an allow-list."""

from __future__ import annotations

import argparse
from typing import Any

__all__ = ["TAKES_OVERRIDES", "add_arguments", "run"]

TAKES_OVERRIDES = True


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``run``; every other ``--id VALUE`` overrides an item, as for ``monai.bundle run``."""
    parser.add_argument(
        "--config_file", required=True, metavar="FILE", help="one, or several as \"['a.json','b.json']\""
    )
    parser.add_argument(
        "--strict",
        action="store_true",
        help="for a config from elsewhere: refuse any component, import or expression outside the allow-list before "
        "anything runs. It is no sandbox: paths, weights and data are not judged",
    )
    parser.epilog = "Every other --id VALUE overrides an item of the config, such as --max_epochs 5."


def run(args: argparse.Namespace) -> int:
    """Run the config."""
    options = _overrides(args.overrides)
    config_file = _value(args.config_file)
    if args.strict:
        from monai_cxrssl.apps.strict.config import run_strict

        run_strict(config_file, **options)
    else:
        import monai.bundle

        monai.bundle.run(config_file=config_file, **options)
    return 0


def _overrides(words: list[str]) -> dict[str, Any]:
    """``--id VALUE``, ``--id=VALUE``, or ``--id`` alone for True, read as ``monai.bundle`` reads them."""
    from monai_cxrssl.errors import ConfigurationError

    found: dict[str, Any] = {}
    rest = list(words)
    while rest:
        word = rest.pop(0)
        if not word.startswith("--") or len(word) < 3:
            raise ConfigurationError(f"{word!r} is no override; expected --id VALUE.")
        name, sign, value = word[2:].partition("=")
        if not sign and rest and not rest[0].startswith("--"):
            sign, value = "=", rest.pop(0)
        found[name] = _value(value) if sign else True
    return found


def _value(text: str) -> Any:
    """The reading of Fire, with which ``monai.bundle`` reads its command line: a Python literal, else the text."""
    from fire.parser import DefaultParseValue

    return DefaultParseValue(text)
