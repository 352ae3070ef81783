# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Find the layout of folders and write their datalist."""

from __future__ import annotations

import argparse
import json
import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from monai_cxrssl.data.datalists.datalist import Datalist

__all__ = ["add_arguments", "run"]

logger = logging.getLogger(__name__)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``index``."""
    parser.add_argument("folders", nargs="+", metavar="DIR", help="folder of a data set; several are mixed")
    parser.add_argument("--out", required=True, metavar="FILE", help="datalist file to write")
    parser.add_argument("--json", action="store_true", help="print the counts as JSON")
    parser.add_argument(
        "--keep",
        action="append",
        default=[],
        metavar="KIND",
        help="take files of this kind for images, which are left out and counted otherwise: no_pixels, dicomdir, "
        "modality, colour, frames, body_part, for_processing, mask, thumbnail, system, own_output or copy; repeatable",
    )
    parser.add_argument("--layout", metavar="NAME", help="layout to read DIR by (default: told by its own files)")
    parser.add_argument(
        "--option",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="option of the layout, such as policy=ones of chexpert, or of csv_table patient_column=pid (DIR may then "
        "be the csv file); VALUE is JSON or plain text",
    )
    parser.add_argument(
        "--patient_ids",
        choices=("pseudonym", "original"),
        help="what stands for the patients and studies of DICOM headers in a plain folder: a keyed hash (default) or "
        "the ids themselves",
    )
    parser.add_argument("--salt_file", metavar="FILE", help="private key of the pseudonyms, drawn when absent; default "
                        "$MONAI_CXRSSL_SALT_FILE, else one in your settings folder")  # fmt: skip
    parser.add_argument(
        "--strict_labels",
        action="store_true",
        help="refuse labels that the layout does not know (by default they are unknown, counted and named)",
    )
    files = parser.add_mutually_exclusive_group()
    files.add_argument("--no-check", action="store_true", help="do not look whether every listed file exists")
    files.add_argument("--allow_absent", action="store_true", help="leave absent files out and tell how many")


def run(args: argparse.Namespace) -> int:
    """Write the datalist and print its counts."""
    from monai_cxrssl.data.audit.patients import doubts_about_patients
    from monai_cxrssl.data.datalists.counts import counts_table
    from monai_cxrssl.data.datalists.datalist import save_datalist
    from monai_cxrssl.data.sources.registry import mix_datalists

    opened = [_read(Path(folder).expanduser(), args) for folder in args.folders]
    datalist = opened[0] if len(opened) == 1 else mix_datalists(opened)
    if not args.no_check:
        datalist = _existing(datalist, args)
    save_datalist(datalist, args.out)
    summary = datalist.summary()
    # What the plain folder lacks it has said itself.
    told = [item for item in datalist.all_items() if "patient_from" not in item]
    for _, severity, _, sentence in doubts_about_patients(datalist.name, told):
        if severity == "warning":
            logger.warning("%s", sentence)
    print(json.dumps(summary, indent=1) if args.json else counts_table(summary))
    return 0


def _read(path: Path, args: argparse.Namespace) -> Datalist:
    from monai_cxrssl.data.datalists.datalist import load_datalist
    from monai_cxrssl.data.datalists.left_out import LeftOut
    from monai_cxrssl.data.sources.discovery.parts import IDS
    from monai_cxrssl.data.sources.discovery.read_folder import read_folder
    from monai_cxrssl.data.sources.registry import DATALIST_FILE, LAYOUTS, index_folder
    from monai_cxrssl.errors import ConfigurationError

    LeftOut(args.keep)  # refuses what is no kind
    options = _options(args.option)
    ids = {name: getattr(args, name) for name in IDS if getattr(args, name) is not None}
    if args.layout is not None and args.layout not in LAYOUTS:
        raise ConfigurationError(f"--layout is {args.layout!r}; expected one of {', '.join(LAYOUTS)}.")
    if args.layout is None and (path / DATALIST_FILE).is_file():
        if options or ids or args.keep:
            given = f"--{next(iter(ids))}" if ids else f"--option {next(iter(options))}" if options else "--keep"
            raise ConfigurationError(
                f"{path} has a {DATALIST_FILE}, whose patients, labels and splits stand as they are; {given} would "
                "need the folder to be read anew, without them. Leave the option out, or name the --layout to read it "
                "by."
            )
        return load_datalist(path / DATALIST_FILE, path, check_files=not args.no_check)
    if not path.exists() or (args.layout is None and not (path.is_dir() and any(path.iterdir()))):
        # It says what is wrong with the folder.
        return index_folder(path)
    files = {"check_files": not args.no_check, "allow_absent": args.allow_absent, "strict_labels": args.strict_labels}
    return read_folder(path.absolute(), LAYOUTS, args.layout, options | ids, files, args.keep)


def _options(texts: list[str]) -> dict[str, Any]:
    from monai_cxrssl.errors import ConfigurationError

    options: dict[str, Any] = {}
    for text in texts:
        name, sign, value = text.partition("=")
        if not sign or name in ("folder", "check_files", "allow_absent", "keep"):
            raise ConfigurationError(
                f"--option {text}: expected NAME=VALUE of the layout (files are left to --no-check, --allow_absent and "
                "--keep)."
            )
        try:
            options[name] = json.loads(value)
        except json.JSONDecodeError:
            options[name] = value
    return options


def _existing(datalist: Datalist, args: argparse.Namespace) -> Datalist:
    """Check what the layout did not: the images that a ``datalist.json`` names."""
    from dataclasses import replace

    from monai_cxrssl.data.datalists.datalist import SPLITS
    from monai_cxrssl.errors import DatalistError
    from monai_cxrssl.files import ask_all

    kept: dict[str, list[dict[str, Any]]] = {}
    absent: list[str] = []
    for split in SPLITS:
        images = [item["image"] for item in datalist.items(split)]
        exist = ask_all(os.path.lexists, images)
        kept[split] = [own for own, there in zip(datalist.splits[split], exist, strict=True) if there]
        absent += [image for image, there in zip(images, exist, strict=True) if not there]
    if not absent:
        return datalist
    shown = ", ".join(absent[:3]) + (" ..." if len(absent) > 3 else "")
    if not args.allow_absent or not any(kept.values()):
        raise DatalistError(
            f"{len(absent)} listed images of {datalist.name} do not exist ({shown}); complete the data set, or give "
            "--allow_absent to leave them out."
        )
    logger.warning("%s: %d listed images are absent and left out: %s", datalist.name, len(absent), shown)
    return replace(datalist, splits=kept)
