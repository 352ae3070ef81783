# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Run a bundle's config, with --strict under an allow-list."""

from __future__ import annotations

import argparse

from monai_cxrssl.apps.cli.bundles.config_run import add_strict, read_overrides, read_value, run_config

__all__ = ["TAKES_OVERRIDES", "add_arguments", "run"]

TAKES_OVERRIDES = True


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``run``; every other ``--id VALUE`` overrides an item, as for ``monai.bundle run``."""
    parser.add_argument(
        "--config_file", required=True, metavar="FILE", help="one, or several as \"['a.json','b.json']\""
    )
    add_strict(parser)
    parser.epilog = "Every other --id VALUE overrides an item of the config, such as --max_epochs 5."


def run(args: argparse.Namespace) -> int:
    """Run the config."""
    options = read_overrides(args.overrides)
    return run_config(read_value(args.config_file), options, args.overrides, args.strict)
