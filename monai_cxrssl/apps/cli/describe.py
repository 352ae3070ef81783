# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Show or write the description of a file of weights."""

from __future__ import annotations

import argparse
from typing import Any

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``describe``."""
    parser.add_argument("weights", metavar="model.pt", help="a state dict; without an option it is only read")
    parser.add_argument("--encoder_name", metavar="NAME", help="such as resnet50")
    parser.add_argument("--encoder_arguments", metavar="VALUES",
                        help="of timm's network: \"{'patch_size':16,'img_size':518}\"")  # fmt: skip
    parser.add_argument("--image_size", type=int, metavar="PIXELS", help="side of the images that it was trained on")
    parser.add_argument("--input_normalisation", metavar="VALUE",
                        help="of its training: imagenet, xrv, eva-x, none ... or [mean,std]")  # fmt: skip
    parser.add_argument("--pooling", choices=("mean", "cls", "cls+mean", "mean+std"), help="of its features")
    parser.add_argument("--positions", choices=("learned", "sincos"), help="of a transformer's patches")
    parser.add_argument("--head_norm", choices=("none", "layer", "batch"), help="before its label head")
    parser.add_argument("--classes", nargs="*", metavar="NAME", help="in the order of its outputs; none if it has none")
    parser.add_argument("--task", choices=("multi_class", "multi_label"), help="softmax over the classes, or sigmoids")
    parser.add_argument("--decoder", metavar="NAME", help="of a network that segments, such as Unet")
    parser.add_argument("--mask", metavar="KIND", help="what it segments: lung, boxes ...")
    parser.add_argument("--mask_channels", type=int, metavar="N", help="default 1")


def run(args: argparse.Namespace) -> int:
    """Write the description into the file and beside it where the network that it names fits; print it."""
    import json
    from pathlib import Path

    from monai_cxrssl.errors import ConfigurationError
    from monai_cxrssl.handlers.model_files import store_description
    from monai_cxrssl.networks.description import find_description, require_description
    from monai_cxrssl.networks.normalisation import Normalisation
    from monai_cxrssl.networks.starting_normalisation import starting_normalisation
    from monai_cxrssl.networks.trained import build_described

    path = Path(args.weights).expanduser()
    names = (
        "encoder_name", "image_size", "classes", "task", "decoder", "mask", "mask_channels", "pooling", "positions",
        "head_norm",
    )  # fmt: skip
    said = {name: getattr(args, name) for name in names if getattr(args, name) is not None}
    if args.encoder_arguments is not None:
        said["encoder_arguments"] = _arguments(args.encoder_arguments)
    if args.input_normalisation is not None:
        said |= Normalisation.of(args.input_normalisation).described()
    if not said:
        print(json.dumps(require_description(path), indent=2, ensure_ascii=False))
        return 0
    description = {**(find_description(path) or {}), **said}
    if "input_mean" not in description and "encoder_name" in description:
        arguments = description.get("encoder_arguments")
        normalisation = starting_normalisation(
            description["encoder_name"], pretrained=path, encoder_arguments=arguments
        )
        description |= normalisation.described()
    if "classes" in description or "decoder" in description:  # else of an encoder alone
        for name, needed_by in (("task", "classes"), ("mask", "decoder")):
            if description.get(needed_by) and description.get(name) is None:
                raise ConfigurationError(f"--{name} is missing, which nothing in {path} tells; say it too.")
        # What is left out here the weights themselves confirm or refuse.
        absent: dict[str, Any] = {
            "classes": [],
            "task": "multi_class",
            "decoder": None,
            "mask": None,
            "mask_channels": 1,
        }
        description = absent | description
    build_described(path, description)
    store_description(path, description)
    print(json.dumps(description, indent=2, ensure_ascii=False))
    print(f"Written: {path} and {path.with_suffix('.json')}")
    return 0


def _arguments(text: str) -> dict[str, Any]:
    import ast

    from monai_cxrssl.errors import OptionError

    try:
        value = ast.literal_eval(text)
    except (ValueError, SyntaxError):
        value = None
    if not isinstance(value, dict):
        raise OptionError(
            f"--encoder_arguments is {text!r}; it must be names and values, such as \"{{'patch_size':16}}\"."
        )
    return value
