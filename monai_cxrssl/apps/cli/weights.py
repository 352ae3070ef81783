# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""List known public weights, or say what a file is."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from monai_cxrssl.networks.weights.known import KnownWeights

__all__ = ["add_arguments", "run"]

#: Tensors named one by one.
_SHOWN = 8
_UNKNOWN = "not known"
_ASK = "not known, give --input_normalisation"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``weights``."""
    parser.add_argument("weights", nargs="?", metavar="WEIGHTS",
                        help="a file, a folder of Hugging Face form, timm:NAME, hf://ORG/REPO/FILE, or a name of the "
                        "list; the list without it")  # fmt: skip
    parser.add_argument("--encoder_name", metavar="NAME", help="encoder to load into; default the recognised one")
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(args: argparse.Namespace) -> int:
    """Print the list, one entry of it, or the account of a file."""
    import json
    from pathlib import Path

    from monai_cxrssl.networks.weights.known import known_weights

    rows = known_weights()
    row = next((row for row in rows if row.name == args.weights), None)
    if args.weights is None:
        content: Any = [_facts(each) for each in rows]
        text = _table(rows)
    elif row is not None and not Path(args.weights).exists():
        content = _facts(row)
        text = _lines(content)
    else:
        content = _account(args.weights, args.encoder_name)
        text = _lines(content)
    print(json.dumps(content, indent=2, ensure_ascii=False) if args.json else text)
    return 0


def _facts(row: KnownWeights) -> dict[str, Any]:
    """What a row says, in words and plain JSON values."""
    return {
        "name": row.name,
        "encoder_name": row.encoder_name,
        "encoder_arguments": row.encoder_arguments,
        "normalisation": None if row.normalisation is None else row.normalisation.described(),
        "image_size": row.image_size,
        "supervision": row.supervision,
        "trained_on": None if row.trained_on is None else list(row.trained_on),
        "licence": row.licence,
        "page": row.page,
        "get": row.get,
        "note": row.note,
    }


def _account(text: str, encoder_name: str | None) -> dict[str, Any]:
    """What a file is, and what of it an encoder would take."""
    from monai_cxrssl.networks.description import find_description
    from monai_cxrssl.networks.encoder import Encoder
    from monai_cxrssl.networks.normalisation import Normalisation
    from monai_cxrssl.networks.trained_on import trained_on
    from monai_cxrssl.networks.weights.containers import read_weights
    from monai_cxrssl.networks.weights.known import candidates, recognise
    from monai_cxrssl.networks.weights.loading import load_encoder_weights
    from monai_cxrssl.networks.weights.locations import resolve_weights

    path = resolve_weights(text)
    known, description = recognise(path), find_description(path)
    weights = read_weights(path)
    facts: dict[str, Any] = {"file": str(path), "tensors": len(weights)}
    if known is not None:
        facts |= {**_facts(known), "recognised_by": known.recognised_by}
    elif description is not None:
        normalisation = Normalisation.from_description(description)
        facts |= {"name": "weights of this package", "recognised_by": "the description in it"}
        facts |= {"encoder_name": description.get("encoder_name"), "normalisation": normalisation.described()}
        facts |= {"trained_on": trained_on(path), "started_from": description.get("started_from")}
    else:
        fitting = [row.name for row in candidates(path)]
        facts |= {"name": None, "encoder_name": None, "normalisation": None, "may_be": fitting}
    encoder_name = encoder_name or facts.get("encoder_name")
    facts["encoder_name"] = encoder_name
    if encoder_name is not None:
        normalised = facts.get("normalisation")
        # One value for all channels leaves a grey image grey.
        grey = normalised is None or all(len(set(normalised[f"input_{part}"])) == 1 for part in ("mean", "std"))
        arguments = facts.get("encoder_arguments") or None
        encoder = Encoder(encoder_name, 1 if grey else 3, encoder_arguments=arguments).encoder
        account = load_encoder_weights(encoder, weights, name=str(path))
        facts |= {"loaded": len(account.loaded), "reshaped": dict(account.reshaped)}
        facts |= {"missing": list(account.missing), "unused": list(account.unused)}
    return facts


def _lines(facts: dict[str, Any]) -> str:
    """One line per fact, names aligned."""
    told = {key: _words(key, value) for key, value in facts.items() if key not in ("note", "started_from") or value}
    if "loaded" not in facts and "file" in facts:
        told["loaded"] = "not tried: give --encoder_name"
    width = max(map(len, told))
    return "\n".join(f"{key:<{width}}  {value}" for key, value in told.items())


def _words(key: str, value: Any) -> str:
    if key == "normalisation":
        return _ASK if value is None else _normalised(value["input_mean"], value["input_std"], value["input_scale"])
    if key in ("encoder_arguments", "reshaped") and isinstance(value, dict):
        value = [f"{name}={each}" if key == "encoder_arguments" else f"{name}: {each}" for name, each in value.items()]
    if isinstance(value, list):
        if key in ("missing", "unused", "reshaped") and len(value) > _SHOWN:
            return f"{len(value)}: {', '.join(value[:_SHOWN])} ..."
        return ", ".join(value) or ("nothing" if key != "trained_on" else "no public data set that is known")
    return _UNKNOWN if value is None else str(value)


def _normalised(mean: list[float], std: list[float], scale: float) -> str:
    values = [" ".join(f"{each:g}" for each in dict.fromkeys(part)) for part in (mean, std)]
    return f"mean {values[0]}, sd {values[1]}" + ("" if scale == 1 else f", of the image times {scale:g}")


def _table(rows: tuple[KnownWeights, ...]) -> str:
    head = ("name", "encoder", "normalisation", "pixels", "supervision", "trained on", "licence")
    table = [head]
    for row in rows:
        encoder = row.encoder_name or "none here"
        encoder += "".join(f" {name}={value}" for name, value in row.encoder_arguments.items())
        normalisation = _UNKNOWN if row.normalisation is None else str(row.normalisation.name)
        size = _UNKNOWN if row.image_size is None else str(row.image_size)
        seen = ", ".join(row.trained_on or ()) or _UNKNOWN
        table.append(
            (row.name, encoder, normalisation, size, row.supervision or _UNKNOWN, seen, row.licence or _UNKNOWN)
        )
    widths = [max(len(line[k]) for line in table) for k in range(len(head))]
    lines = ["  ".join(f"{cell:<{width}}" for cell, width in zip(line, widths, strict=True)).rstrip() for line in table]
    return "\n".join(
        [*lines, "", "`weights NAME` says how to get one; `weights FILE` what a file is and what would load."]
    )
