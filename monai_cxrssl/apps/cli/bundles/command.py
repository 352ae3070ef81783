# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Commands that run one config of a bundle named by its folder."""

from __future__ import annotations

import argparse
import difflib
import json
from pathlib import Path
from typing import Any

import monai_cxrssl
from monai_cxrssl.apps.cli.bundles.config_run import add_strict, read_overrides, run_config
from monai_cxrssl.errors import ConfigurationError

__all__ = ["add_arguments", "find_config", "run_bundle"]

#: Options of evaluations whose value is text, beside those that training has too.
_TEXTS = frozenset({"external_dataset_dir", "external_datalist", "criteria"})


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
    config_file = find_config(name, config_name)
    if args.help:
        _add_options(args.parser, config_file)
        args.parser.print_help()
        return 0
    return run_config(str(config_file), _options(words, config_file), words, args.strict)


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


def find_config(name: str, config_name: str) -> Path:
    """Return a config of a bundle.

    Args:
        name: of a folder in the folder of bundles, or the path of a bundle's folder.
        config_name: of the file in the bundle's ``configs``, without its suffix.

    Raises:
        ConfigurationError: there is no such bundle, or it has no such config.
    """
    folders = [Path(name)]
    if Path(name).name == name != "..":
        folders.insert(0, _bundles_folder() / name)
    for folder in folders:
        if (folder / "configs").is_dir():
            config_file = folder / "configs" / f"{config_name}.json"
            if not config_file.is_file():
                raise ConfigurationError(f"The bundle {folder} has no configs/{config_name}.json.")
            return config_file
    near = difflib.get_close_matches(name, _names(config_name), 1)
    remedy = f"Did you mean {near[0]}?" if near else _choice(config_name)
    raise ConfigurationError(f"There is no bundle {name}. {remedy}")


def _bundles_folder() -> Path:
    """Return ``bundles`` of the working folder if bundles are in it, else that of the package's repository."""
    here = Path("bundles")
    return here if any(here.glob("*/configs")) else Path(monai_cxrssl.__file__).resolve().parents[1] / "bundles"


def _names(config_name: str) -> list[str]:
    return sorted(path.parents[1].name for path in _bundles_folder().glob(f"*/configs/{config_name}.json"))


def _choice(config_name: str) -> str:
    names = _names(config_name)
    found = f"Bundles in {_bundles_folder()}: {', '.join(names)}. Or give" if names else "Give"
    return f"{found} the path of a bundle's folder."


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
    group = parser.add_argument_group(f"bundles in {_bundles_folder()}", "or the path of any bundle's folder")
    for name in _names(config_name):
        group.add_argument(name, help=_verbatim(_full_name(_bundles_folder() / name)))


def _full_name(folder: Path) -> str:
    """Return a bundle's name in its metadata; without readable ones it is listed all the same."""
    try:
        return str(json.loads((folder / "configs" / "metadata.json").read_text(encoding="utf-8"))["name"])
    except (OSError, ValueError, LookupError, TypeError):
        return ""


def _add_options(parser: argparse.ArgumentParser, config_file: Path) -> None:
    """Add a bundle's options, with meanings and defaults, to a parser's help."""
    from monai_cxrssl.apps.cli.bundles.option_help import bundle_options

    options, recipes = bundle_options(config_file)
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
