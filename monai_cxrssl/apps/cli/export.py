# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Write a trained network as ONNX, or its encoder for timm."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from monai_cxrssl.apps.export.check import CheckFilms
    from monai_cxrssl.apps.export.onnx_export import ExportedNetwork, Runner

__all__ = ["add_arguments", "run"]

#: Largest absolute difference from PyTorch that an export may have.
TOLERANCE = 1e-4


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options of ``export``."""
    parser.add_argument("weights", metavar="model.pt", help="trained weights with their description")
    parser.add_argument("--out", metavar="FILE", help="default: beside the weights, with the suffix .onnx")
    parser.add_argument("--opset", type=int, metavar="N", help="default the one that torch writes")
    parser.add_argument("--temperature", type=float, metavar="T",
                        help="dividing the logits; default the one stored with the weights, or 1")  # fmt: skip
    parser.add_argument("--check_images", nargs="+", default=[], metavar="PATH",
                        help="a data set or files to check the export on; default phantoms")  # fmt: skip
    parser.add_argument("--timm", metavar="FOLDER",
                        help="instead write the encoder alone, as config.json and model.safetensors, for "
                        "timm.create_model; the folder may be a packed bundle")  # fmt: skip
    parser.add_argument("--int8", action="store_true",
                        help="also write <name>.int8.onnx for CPUs, and print what it costs")  # fmt: skip


def run(args: argparse.Namespace) -> int:
    """Export, check, and print the largest differences; the file appears only if they are small enough."""
    import os
    import sys

    import torch

    from monai_cxrssl.apps.export.check import largest_differences, open_check_films
    from monai_cxrssl.apps.export.description import describe_export
    from monai_cxrssl.apps.export.onnx_export import export_network, open_exported, require_onnx
    from monai_cxrssl.errors import ConfigurationError
    from monai_cxrssl.files import replace, sha256

    if args.timm is not None:
        return _write_timm(Path(args.weights), Path(args.timm).expanduser())
    require_onnx()
    network, settings, temperature = _load(Path(args.weights), args.temperature)
    size = settings["image_size"]
    films = open_check_films(args.check_images, size, settings.get("classes", []), settings.get("task", ""))
    out = Path(args.out).expanduser() if args.out else Path(args.weights).with_suffix(".onnx")
    description = describe_export(settings, network.output_names, temperature, sha256(args.weights))
    partial = out.with_name(f".{out.name}.{os.getpid()}.partial")
    try:
        try:
            out.parent.mkdir(parents=True, exist_ok=True)
            export_network(network, partial, size, description, args.opset)
        except OSError as error:
            raise ConfigurationError(f"{out} cannot be written: {error.strerror or error}.") from error
        exported = open_exported(partial, network.output_names)
        worst = largest_differences(exported, network.run, films.images)
        told = ", ".join(f"{name} {value:.1e}" for name, value in worst.items())
        print(f"Largest difference from PyTorch {torch.__version__} on {len(films.images)} {films.name}, "
              f"batches of 1 and 3: {told}.")  # fmt: skip
        if not all(value <= TOLERANCE for value in worst.values()):
            print(f"error: that is more than {TOLERANCE:g}, so {out} was not written; try another --opset.",
                  file=sys.stderr)  # fmt: skip
            return 1
        replace(partial, out)
    finally:
        partial.unlink(missing_ok=True)
    print(f"Written: {out} ({out.stat().st_size / 1e6:.1f} MB; {', '.join(network.output_names)})")
    if args.int8:
        _write_int8(out, network, films)
    return 0


def _write_timm(weights: Path, folder: Path) -> int:
    """Write the encoder for timm, and print how timm builds it."""
    from monai_cxrssl.apps.export.timm_folder import write_timm_folder
    from monai_cxrssl.errors import ConfigurationError
    from monai_cxrssl.networks.fine_tuned.ensemble import EnsembleNet
    from monai_cxrssl.networks.trained import load_trained_model

    network, settings = load_trained_model(weights)
    if isinstance(network, EnsembleNet):
        raise ConfigurationError(
            f"{weights} is an ensemble of {len(network.members)} networks, and timm takes one encoder: give the "
            "model.pt of one member, or write ONNX instead (leave out --timm)."
        )
    call, difference = write_timm_folder(network, settings, folder)
    print(f"Written: {folder / 'config.json'} and {folder / 'model.safetensors'}; largest difference of a feature: "
          f"{difference:.1e}. Build it by\n  {call}")  # fmt: skip
    return 0


def _load(weights: Path, temperature: float | None) -> tuple[ExportedNetwork, dict[str, Any], float]:
    """The network, what the description says, and the temperature of the label's probabilities."""
    import math

    from monai_cxrssl.apps.export.onnx_export import ExportedNetwork
    from monai_cxrssl.errors import ConfigurationError
    from monai_cxrssl.networks.encoder import Encoder
    from monai_cxrssl.networks.prediction_head import PredictionHead
    from monai_cxrssl.networks.settings import read_temperature
    from monai_cxrssl.networks.trained import load_trained_model

    if temperature is not None and not (math.isfinite(temperature) and temperature > 0):
        raise ConfigurationError(f"--temperature is {temperature:g}; expected a number above 0, 1 to change nothing.")
    network, settings = load_trained_model(weights)
    if isinstance(network, Encoder):
        if temperature is not None:
            raise ConfigurationError(f"{weights} is an encoder without classes, so --temperature has nothing to scale.")
        return ExportedNetwork(network), settings, 1.0
    temperature = read_temperature(weights) if temperature is None else temperature
    head = PredictionHead(settings["task"], settings["classes"], temperature)
    return ExportedNetwork(network, head), settings, temperature


def _write_int8(out: Path, network: ExportedNetwork, films: CheckFilms) -> None:
    """Write the 8-bit form and print its price."""
    from monai_cxrssl.apps.export.check import int8_cost
    from monai_cxrssl.apps.export.onnx_export import open_exported, quantize_onnx

    small = out.with_suffix(".int8.onnx")
    partial = small.with_name(f".{small.name}.partial")
    try:
        quantize_onnx(out, partial)
        partial.replace(small)
    finally:
        partial.unlink(missing_ok=True)
    runners: list[Runner] = [open_exported(path, network.output_names, threads=1) for path in (out, small)]
    cost = int8_cost(runners[0], runners[1], films)
    megabytes = [path.stat().st_size / 1e6 for path in (out, small)]
    print(f"Written: {small}; its price, on {len(films.images)} {films.name}, one at a time, 32 bits -> 8 bits:")
    for name, value in cost.differences.items():
        what = "value" if name == "embedding" else "probability"
        print(f"  largest change of a {name} {what}: {value:.3g}")
    if "label" in cost.differences:
        told = "not assessable (no labels of these classes)" if cost.auc is None else (
            f"{cost.auc[0]:.4f} -> {cost.auc[1]:.4f} ({cost.auc[1] - cost.auc[0]:+.4f})")  # fmt: skip
        print(f"  macro AUC: {told}")
    if cost.mask_dice is not None:
        print(f"  Dice coefficient of the two masks: {cost.mask_dice:.4f}")
    print(f"  size: {megabytes[0]:.1f} -> {megabytes[1]:.1f} MB ({megabytes[0] / megabytes[1]:.1f} times smaller)")
    before, after = cost.milliseconds
    print(f"  one thread, one image: {before:.1f} -> {after:.1f} ms ({before / after:.2f} times the speed)")
