# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Command line ``monai-cxrssl``, one file in ``cli`` per command.

Those that run one config of a bundle stand in ``cli/bundles``, those that compare many models in ``cli/comparisons``. A
command's file has a docstring whose first line is its
help, ``add_arguments(parser)`` and ``run(args) -> int``, the exit status. One with ``TAKES_OVERRIDES = True`` gets the
words that it does not declare as a list, ``args.overrides``; one with ``OWN_HELP = True`` declares and answers
``--help`` itself.
It imports what is heavy inside ``run``, so that ``--help`` answers at once. Exit status: 0 all well, 1 a leak
or a run that failed, 2 wrong use or wrong input.
"""

from __future__ import annotations

import argparse
import importlib
import logging
import sys
from collections.abc import Sequence
from pathlib import Path

import monai_cxrssl
from monai_cxrssl.apps.clear_errors import clear_sentence

__all__ = ["COMMANDS", "main"]

COMMANDS = (
    "bundle", "index", "label", "split", "audit", "cache", "phantom", "show", "train", "evaluate", "predict", "folds",
    "fractions", "compare", "tasks", "tune", "report", "describe", "weights", "export", "pack", "run", "runs",
)  # fmt: skip
#: Those that do not stand in ``cli`` itself, and the folder below it where they do.
_FOLDERS = {
    **dict.fromkeys(("bundle", "train", "evaluate", "predict"), "bundles"),
    **dict.fromkeys(("fractions", "folds", "compare", "tasks", "tune"), "comparisons"),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command.

    Args:
        arguments: the words after the program's name; by default those of this process.

    Returns:
        The exit status.
    """
    script = Path(sys.argv[0]).stem == "monai-cxrssl"
    parser = argparse.ArgumentParser(
        prog="monai-cxrssl" if script else "python -m monai_cxrssl",
        description="Chest X-ray data sets made ready, models trained, and compared on them.",
    )
    parser.add_argument("--version", action="version", version=f"monai-cxrssl {monai_cxrssl.__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    runs = {}
    for name in COMMANDS:
        folder = f"cli.{_FOLDERS[name]}" if name in _FOLDERS else "cli"
        module = importlib.import_module(f"monai_cxrssl.apps.{folder}.{name}")
        about = str(module.__doc__).strip()
        open_ended = getattr(module, "TAKES_OVERRIDES", False)
        # Where other options follow, an abbreviation could stand for one of them.
        own = commands.add_parser(
            name, help=about.splitlines()[0], description=about.splitlines()[0], allow_abbrev=not open_ended,
            add_help=not getattr(module, "OWN_HELP", False),
        )  # fmt: skip
        module.add_arguments(own)
        own.set_defaults(open_ended=open_ended)
        runs[name] = module.run
    args, overrides = parser.parse_known_args(arguments)
    if overrides and not args.open_ended:
        parser.error(f"unrecognized arguments: {' '.join(overrides)}")
    args.overrides = overrides
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s: %(message)s")
    try:
        return runs[args.command](args)
    except Exception as error:
        sentence = clear_sentence(error)
        if sentence is None:
            raise
        print(f"error: {sentence}", file=sys.stderr)
        return 2
