# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Commands that run one config of a bundle named by its folder."""

from __future__ import annotations

import argparse
import difflib
import sys
from pathlib import Path
from typing import Any

from monai_cxrssl.apps.cli.bundles.config_run import add_strict, read_overrides, run_config
from monai_cxrssl.apps.cli.bundles.folders import (
    WORKING,
    bundle_names,
    full_name,
    is_installed,
    packaged_bundles,
    put_bundle,
)
from monai_cxrssl.errors import ConfigurationError
from monai_cxrssl.tiers import import_tier

__all__ = ["add_arguments", "find_config", "run_bundle"]

#: Options of evaluations whose value is text, beside those that training has too.
_TEXTS = frozenset({"external_dataset_dir", "external_datalist", "criteria", "validation_predictions"})


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what all bundles have in common; the bundle and its options are the words left over."""
    parser.usage = f"{parser.prog} BUNDLE [DIR ...] [--strict] [--OPTION VALUE]"
    parser.formatter_class = lambda prog: argparse.HelpFormatter(prog, max_help_position=30)
    parser.add_argument("-h", "--help", action="store_true", help="after a bundle's name: its options")
    add_strict(parser)
    parser.set_defaults(parser=parser)


def run_bundle(config_name: str, args: argparse.Namespace) -> int:
    """Run a config of the bundle that the first word names, or print help.

    Args:
        config_name: of the file in the bundle's ``configs``, without its suffix.
        args: ``parser`` and ``command``, ``help``, ``strict``, and the words of the bundle and its options.

    Returns:
        The exit status.

    Raises:
        ConfigurationError: no bundle is named, it has no such config, or a word is no option.
    """
    name, words = None, args.overrides
    if words and not words[0].startswith("-"):
        name, *words = words
        words = _with_folders(words)
    if name is None:
        if not args.help:
            raise ConfigurationError(
                f"The first word after {args.command} names a bundle, as in {args.command} micle --recipe short. "
                + _choice(config_name)
            )
        _add_bundles(args.parser, config_name)
        args.parser.print_help()
        return 0
    config_file = find_config(name, config_name, put=False)
    if args.help:
        _add_options(args.parser, config_file)
        args.parser.print_help()
        return 0
    import_tier("monai")
    options = _options(words, config_file)
    return run_config(str(find_config(name, config_name)), options, words, args.strict)


def _with_folders(words: list[str]) -> list[str]:
    """Take the words before the first option for folders of images.

    Raises:
        ConfigurationError: one is no folder.
    """
    count = next((number for number, word in enumerate(words) if word.startswith("-")), len(words))
    if count == 0:
        return words
    for word in words[:count]:
        if not Path(word).expanduser().is_dir():
            raise ConfigurationError(
                f"There is no folder {word}; words behind the bundle's name are folders of images, and options are "
                "--id VALUE."
            )
    folders = words[0] if count == 1 else repr(words[:count])
    return ["--dataset_dir", folders, *words[count:]]


def find_config(name: str, config_name: str, put: bool = True) -> Path:
    """Return a config of a bundle.

    A bundle that stands in an installed package alone is first copied below ``bundles`` of the working folder, since
    runs write into a bundle's folder.

    Args:
        name: of a folder in ``bundles`` of the working folder or of the package, or the path of a bundle's folder.
        config_name: of the file in the bundle's ``configs``, without its suffix.
        put: False leaves the bundle in the package, for reading.

    Raises:
        ConfigurationError: there is no such bundle, or it has no such config.
    """
    folders = [Path(name)]
    if Path(name).name == name != "..":
        folders[:0] = [WORKING / name, packaged_bundles() / name]
    folder = next((folder for folder in folders if (folder / "configs").is_dir()), None)
    if folder is None:
        near = difflib.get_close_matches(name, _names(config_name), 1)
        remedy = f"Did you mean {near[0]}?" if near else _choice(config_name)
        raise ConfigurationError(f"There is no bundle {name}. {remedy}")
    config_file = folder / "configs" / f"{config_name}.json"
    if not config_file.is_file():
        raise ConfigurationError(f"The bundle {folder} has no configs/{config_name}.json.")
    if put and is_installed(folder):
        folder = put_bundle(name)
        print(f"The bundle {name} was copied to {folder}, where its runs and weights are kept.", file=sys.stderr)
        return folder / "configs" / config_file.name
    return config_file


def _names(config_name: str) -> list[str]:
    return sorted({*bundle_names(WORKING, config_name), *bundle_names(packaged_bundles(), config_name)})


def _choice(config_name: str) -> str:
    return f"Bundles: {', '.join(_names(config_name))}. Or give the path of a bundle's folder."


def _options(words: list[str], config_file: Path) -> dict[str, Any]:
    """Read the overrides; text is as it was typed, whatever Python or MONAI would make of it."""
    from monai_cxrssl.apps.cli.bundles.option_help import read_config
    from monai_cxrssl.runs.fine_tuning_options import FineTuningOptions
    from monai_cxrssl.runs.pretraining_options import PretrainingOptions
    from monai_cxrssl.runs.words_as_written import command_words, words_as_written

    overrides = read_overrides(words)
    if "config_file" in overrides:
        raise ConfigurationError(
            f"--config_file is {config_file} here; for another, or several: python -m monai_cxrssl run --config_file."
        )
    texts = PretrainingOptions.literal | FineTuningOptions.literal | _TEXTS
    with command_words(words):
        options = words_as_written(overrides, texts)
    # What the config does not have stays as it is, for the config to refuse.
    texts = texts & read_config(config_file).keys()
    return {name: _protected(value) if name in texts else value for name, value in options.items()}


def _protected(value: Any) -> Any:
    """Return an expression that evaluates to a text in which MONAI would see a reference, a macro or an expression."""
    if isinstance(value, list):
        return [_protected(part) for part in value]
    if not isinstance(value, str) or not (value[:1] in "@%$" or "#" in value):
        return value
    return "$" + repr(value).replace("@", r"\x40").replace("#", r"\x23")


def _add_bundles(parser: argparse.ArgumentParser, config_name: str) -> None:
    """Add the bundles found, each with its name in full, to a parser's help."""
    titles = {packaged_bundles(): "bundles of the package"}
    titles.setdefault(WORKING.resolve(), f"bundles in {WORKING}")
    for folder, title in titles.items():
        names = bundle_names(folder, config_name)
        group = parser.add_argument_group(title, "or the path of any bundle's folder" if names else None)
        for name in names:
            group.add_argument(name, help=_verbatim(full_name(folder / name)))


def _add_options(parser: argparse.ArgumentParser, config_file: Path) -> None:
    """Add a bundle's options, with meanings and defaults, to a parser's help."""
    from monai_cxrssl.apps.cli.bundles.option_help import bundle_options

    folder = config_file.parents[1]
    options, recipes = bundle_options(config_file, WORKING / folder.name if is_installed(folder) else folder)
    parser.usage = str(parser.usage).replace("BUNDLE", config_file.parents[1].name)
    if len(recipes) > 1:
        parser.description = f"{parser.description} Where defaults differ: --recipe {' / '.join(recipes)}."
    parser.epilog = f"Any other id of {config_file} can be overridden too, as with python -m monai.bundle run."
    group = parser.add_argument_group("options of the bundle")
    for option in options:
        group.add_argument(
            f"--{option.name}",
            metavar=_verbatim(option.values),
            help=_verbatim(f"{option.meaning} (default: {option.default})".lstrip()),
        )


def _verbatim(text: str) -> str:
    return text.replace("%", "%%")
