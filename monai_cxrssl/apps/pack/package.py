# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Packing of a trained bundle as a clean folder or zip.

Taken along: configs, licences, ``models/model.pt`` with ``model.json``, a model card, the report as evidence, and
``SHA256SUMS``. Metadata and configs are those of the trained model. Left behind unless asked for: the hashes of the
patients trained on (``model.patients.json``: its salt stands beside them, so whoever has a patient id can ask whether
it is in there), the table of predictions, and pictures of images.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch

from monai_cxrssl.apps.pack.card import write_card
from monai_cxrssl.apps.pack.evidence import copy_evidence, find_machine_paths, report_is_of
from monai_cxrssl.apps.pack.metadata import packed_metadata, read_facts
from monai_cxrssl.apps.pack.zoo import (
    LIMIT_MB,
    check_name,
    exclusions,
    lay_out,
    no_address,
    script_problem,
    write_large_files,
    zoo_name,
)  # fmt: skip
from monai_cxrssl.errors import ConfigurationError
from monai_cxrssl.files import sha256, write_json
from monai_cxrssl.networks.description import described_start
from monai_cxrssl.networks.normalisation import IDENTITY, Normalisation
from monai_cxrssl.networks.trained import load_trained_model
from monai_cxrssl.networks.weights.containers import read_weights
from monai_cxrssl.report.provenance import bundle_metadata
from monai_cxrssl.runs.run_folder import newest_report

__all__ = ["SUMS", "PackedBundle", "file_sums", "pack_bundle"]

SUMS = "SHA256SUMS"
#: Copies of some of these lie at a bundle's root too, for short commands; a pack has them once.
_CONFIGS = (
    "metadata.json", "recipes.json", "train.json", "evaluate.json", "inference.json", "multi_gpu_train.json",
    "logging.conf",
)  # fmt: skip
_SETTINGS = ("encoder_name", "image_size", "decoder", "classes", "task", "mask")
_READ_SETTING = "$monai_cxrssl.networks.read_model_setting(@model_path, '{}', {!r})"
_READ_NORMALISATION = "$monai_cxrssl.networks.read_input_normalisation(@model_path, {!r})"
_READ_MEMBERS = "$monai_cxrssl.networks.read_members(@model_path, {!r})"
_READ_START = "$monai_cxrssl.networks.read_start(@model_path, {!r})"


@dataclass(frozen=True)
class PackedBundle:
    """The folder or zip; whether anything was written, not there already; sentences for the reader; the version."""

    path: Path
    written: bool
    notes: tuple[str, ...]
    version: str


def pack_bundle(
    bundle: str | os.PathLike,
    name: str | None,
    out: str | os.PathLike,
    *,
    model_path: str | os.PathLike | None = None,
    report: str | os.PathLike | None = None,
    version: str | None = None,
    changes: str | None = None,
    facts: str | os.PathLike | None = None,
    weights_url: str | None = None,
    as_zip: bool = False,
    zoo: bool = False,
    include_patients: bool = False,
    include_predictions: bool = False,
    include_films: bool = False,
) -> PackedBundle:
    """Write ``out/name``, or ``out/name_vVERSION.zip`` with that folder in it; the same input gives the same bytes.

    Args:
        bundle: folder of a bundle of this package.
        name: of the pack, in the model zoo's manner: ``chest_xray_lung_segmentation``; ``None`` to be named after the
            bundle.
        out: folder that gets it.
        model_path: trained weights with their description; by default ``models/model.pt`` of the bundle.
        report: folder that ``python -m monai_cxrssl report`` or an evaluation wrote about these weights; by default
            that of the newest evaluation below ``runs`` of the bundle, if there.
        version: ``1.2.0``; by default the bundle's own.
        changes: the changelog's entry for a version that has none.
        facts: JSON file of metadata that only its maker knows of this model, such as ``data_source``,
            ``target_population``, ``limitations``; it fills the model card.
        weights_url: where the weights will lie, for ``large_files.yml``, which the model zoo wants of large files.
        zoo: write what a pull request to the model zoo holds, to be copied over a checkout: ``models/NAME`` and
            ``ci/unit_tests/test_NAME.py``; weights above its limit lie in ``upload/NAME``, and need a ``weights_url``.
        include_patients: with ``model.patients.json``.
        include_predictions: with ``report/predictions.csv``, which holds patient ids.
        include_films: with the report's galleries, which show images of patients.

    Raises:
        ConfigurationError: there are no weights, they are no plain state dict or do not fit the bundle, the name breaks
            the zoo's rules, weights are too large for the zoo and have no address, the report is of other weights, a
            file names a path of this machine, or something else is already there.
    """
    source, out = Path(bundle).expanduser(), Path(out).expanduser()
    about = bundle_metadata(source)
    if not (source / "configs" / "inference.json").is_file():
        raise ConfigurationError(f"{source} has no configs/inference.json; give the folder of a bundle.")
    weights = Path(model_path).expanduser() if model_path is not None else source / "models" / "model.pt"
    network, settings, outputs = _read_model(weights)
    name = zoo_name(source.resolve().name, settings) if name is None else name
    check_name(name, settings)
    if as_zip and zoo:
        raise ConfigurationError("The model zoo takes a folder; leave out --zip or --zoo.")
    large = weights.stat().st_size > LIMIT_MB * 2**20
    if zoo and large and weights_url is None:
        raise no_address(weights)
    unscripted = script_problem(network)
    about = packed_metadata(about | read_facts(facts), settings, outputs, version, changes)
    digest, notes = sha256(weights), []
    evidence = (
        Path(report).expanduser() if report is not None else newest_report(source, partial(report_is_of, weights))
    )
    if facts is None:
        notes.append("The card says only what the bundle says; state what this model was trained on with --facts FILE.")
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{name}.", dir=out) as temporary:
        folder = Path(temporary) / name
        for part in ("configs", "models", "docs"):
            (folder / part).mkdir(parents=True)
        shutil.copyfile(weights, folder / "models" / "model.pt")
        write_json(settings, folder / "models" / "model.json", indent=4)
        patients = weights.with_suffix(".patients.json")
        if include_patients and not patients.is_file():
            raise ConfigurationError(f"There is no {patients} to take along; leave the option for patients out.")
        if include_patients:
            shutil.copyfile(patients, folder / "models" / "model.patients.json")
        elif patients.is_file():
            notes.append("The hashes of the patients trained on were left out: who gets this cannot be warned of them.")
        _copy_texts(source, folder, name, settings)
        figures: Mapping[str, Any] = {}
        if evidence is not None:
            target = folder / "report"
            figures, remarks = copy_evidence(evidence, target, weights, include_predictions, include_films)
            notes += remarks
        else:
            notes.append("There is no report of this model, so nothing in the pack says how well it works.")
        metrics = {key: figures[key] for key in ("macro_auc", "dice") if isinstance(figures.get(key), float)}
        about |= {"eval_metrics": metrics} if metrics else {}
        write_json(about, folder / "configs" / "metadata.json", indent=4)
        write_card(folder / "docs" / "README.md", name, about, settings, figures, unscripted)
        if weights_url is not None:
            write_large_files(folder, weights_url, digest)
        if told := find_machine_paths(folder, source.resolve().parent, weights.resolve().parent):
            raise ConfigurationError(f"{told[0]} Take it out of the bundle, the model's json file or the report.")
        lines = [f"{digest}  {path}\n" for path, digest in file_sums(folder).items()]
        (folder / SUMS).write_text("".join(lines), encoding="utf-8")
        if zoo:
            notes += exclusions(name, outputs, unscripted is None)
            parts = lay_out(Path(temporary), folder, large)
            if large:
                notes.append(f"Upload {out / parts[-1]} to {weights_url}; it stays out of the pull request.")
            written = _place({Path(temporary) / part: out / part for part in parts}, "--out or --name")
            return PackedBundle(out / parts[0], written, tuple(notes), about["version"])
        if not as_zip:
            return PackedBundle(
                out / name, _place({folder: out / name}, "--out or --name"), tuple(notes), about["version"]
            )
        archive = Path(temporary) / f"{name}_v{about['version']}.zip"
        _write_zip(folder, archive)
        placed = _place({archive: out / archive.name}, "--version")
        return PackedBundle(out / archive.name, placed, tuple(notes), about["version"])


def file_sums(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of every file below a folder by its path with ``/``, in order, ``SHA256SUMS`` aside."""
    files = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    return {path: sha256(folder / path) for path in files if path != SUMS}


def _read_model(weights: Path) -> tuple[torch.nn.Module, dict[str, Any], dict[str, tuple[int, ...]]]:
    """Return the model, its settings, and the shape of each output for one image, measured."""
    if not weights.is_file():
        raise ConfigurationError(f"There are no weights at {weights}; train the bundle first, or give --model_path.")
    state = read_weights(weights)
    try:
        plain = torch.load(weights, map_location="cpu", weights_only=True)
    except Exception:  # safetensors
        plain = {}
    if set(plain) != set(state):
        raise ConfigurationError(
            f"{weights} is no plain state dict, which bundles hold, but a checkpoint or another format; give the "
            "model.pt that training wrote."
        )
    network, settings = load_trained_model(weights)
    if isinstance(settings.get("run"), dict):  # its folder is one of this machine
        settings["run"] = {name: value for name, value in settings["run"].items() if name != "folder"}
    with torch.no_grad():
        result = network(torch.zeros(1, 1, settings["image_size"], settings["image_size"]))
    named = result if isinstance(result, dict) else {"pred": result}
    return network, settings, {key: tuple(value.shape) for key, value in named.items()}


def _copy_texts(source: Path, folder: Path, name: str, settings: Mapping[str, Any]) -> None:
    for config in _CONFIGS:
        path = source / "configs" / config
        if config == "metadata.json" or not path.is_file():
            continue
        text = path.read_text(encoding="utf-8").replace(f"bundles/{source.resolve().name}", name)
        if config in ("train.json", "evaluate.json", "inference.json"):
            write_json(_fixed(json.loads(text), settings, path), folder / "configs" / config, indent=4)
        else:
            (folder / "configs" / config).write_text(text, encoding="utf-8")
    for text_file in ("LICENSE", "docs/data_license.txt"):
        if not (source / text_file).is_file():
            raise ConfigurationError(f"{source} has no {text_file}, without which nothing may be handed on; add it.")
        shutil.copyfile(source / text_file, folder / text_file)
    # The bundle's own page becomes the manual; docs/README.md is the card of this model.
    manual = source / "docs" / "README.md"
    if manual.is_file():
        text = manual.read_text(encoding="utf-8")
        text = text.replace(f"bundles/{source.resolve().name}/train.json", f"{name}/configs/train.json")
        text = text.replace(f"bundles/{source.resolve().name}", name)
        text = text.replace("From the root of the repository:", f"From the folder that holds `{name}`:")
        (folder / "docs" / "manual.md").write_text(text, encoding="utf-8")


def _fixed(config: dict[str, Any], settings: Mapping[str, Any], path: Path) -> dict[str, Any]:
    """Make the trained model's settings the defaults, so that its network is built wherever the configs are read."""
    training = path.name == "train.json"
    for key in _SETTINGS:
        if key not in settings or key not in config:
            continue
        value, own = settings[key], config[key]
        if isinstance(own, str) and "read_model_setting" in own:
            config[key] = _READ_SETTING.format(key, value)
        elif training and key in ("encoder_name", "image_size", "decoder"):
            config[key] = value
        elif not training and own != value and not (isinstance(own, str) and own.startswith("$")):
            raise ConfigurationError(f"{path} has {key} {own!r}, the model {value!r}: it is of another bundle.")
    normalisation = Normalisation.from_description(settings)
    if not training and "input_normalisation" in config:
        config["input_normalisation"] = _READ_NORMALISATION.format(normalisation.as_option())
    elif not training and normalisation != IDENTITY:
        raise ConfigurationError(
            f"{path} has no input_normalisation, and the model wants {normalisation}; give its network_def one, as the "
            "bundles of this package have it."
        )
    if not training and "start" in config:
        config["start"] = _READ_START.format(described_start(settings))
    elif not training and "pooling" in settings:
        raise ConfigurationError(
            f"{path} has no start, and the model is pooled by {settings['pooling']}; give its network_def one, as the "
            "bundles of this package have it."
        )
    members = settings.get("members", 1)
    if not training and "members" in config:
        config["members"] = _READ_MEMBERS.format(members)
    elif not training and members > 1:
        raise ConfigurationError(
            f"{path} has no members, and the model is an ensemble of {members}; give its network_def them, as the "
            "bundles of this package have it."
        )
    is_encoder = str(config["network_def"]["_target_"]).endswith(".Encoder")
    if is_encoder == ("classes" in settings):
        kind = "an encoder" if is_encoder else "a fine-tuned network"
        raise ConfigurationError(f"{path} builds {kind}, which the model is not; give the bundle that trained it.")
    return config


def _write_zip(folder: Path, archive: Path) -> None:
    """Write the same bytes for the same files: sorted, one date, one mode; weights do not compress."""
    with zipfile.ZipFile(archive, "w") as file:
        for path in sorted(folder.rglob("*")):
            if not path.is_file():
                continue
            entry = zipfile.ZipInfo(f"{folder.name}/{path.relative_to(folder).as_posix()}", (1980, 1, 1, 0, 0, 0))
            entry.create_system, entry.external_attr = 3, 0o100644 << 16
            entry.compress_type = zipfile.ZIP_STORED if path.suffix == ".pt" else zipfile.ZIP_DEFLATED
            file.writestr(entry, path.read_bytes(), compresslevel=9)


def _place(parts: Mapping[Path, Path], options: str) -> bool:
    """Move files or folders to their targets, all or none; False where all are there already, with the same content."""
    for made, target in parts.items():
        if target.exists() and (made.is_dir() != target.is_dir() or _content(made) != _content(target)):
            raise ConfigurationError(f"{target} exists with other content; remove it, or choose another {options}.")
    absent = {made: target for made, target in parts.items() if not target.exists()}
    for made, target in absent.items():
        target.parent.mkdir(parents=True, exist_ok=True)
        made.rename(target)
    return bool(absent)


def _content(path: Path) -> Any:
    return (file_sums(path), (path / SUMS).is_file()) if path.is_dir() else sha256(path)
