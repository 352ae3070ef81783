# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Verification of a packed bundle in a fresh offline process.

Beware: to build a bundle's network, MONAI evaluates the expressions in its configs. Nothing is evaluated when the sums
differ, but sums that come with a bundle do not say who made it; the strict option allows only what
:mod:`monai_cxrssl.apps.strict.config` lists.
"""

from __future__ import annotations

import contextlib
import io
import json
import logging
import os
import re
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping
from importlib import metadata as distributions
from pathlib import Path
from typing import Any
from unittest import mock

import torch

import monai_cxrssl
from monai_cxrssl.apps.clear_errors import clear_sentence
from monai_cxrssl.apps.pack.archive import extract_archive
from monai_cxrssl.apps.pack.evidence import find_machine_paths, is_of_weights
from monai_cxrssl.apps.pack.metadata import read_json, stated_versions
from monai_cxrssl.apps.pack.package import SUMS, file_sums
from monai_cxrssl.apps.pack.phantom import phantom_of_model
from monai_cxrssl.errors import ConfigurationError
from monai_cxrssl.networks.description import require_description

__all__ = ["BundleCheck", "check_bundle"]

_WORKFLOWS = (("train", "train"), ("infer", "inference"), ("infer", "evaluate"))
_NEEDED = ("LICENSE", "configs/metadata.json", "configs/train.json", "configs/inference.json", "docs/README.md",
           "docs/data_license.txt", "models/model.json", "models/model.pt")  # fmt: skip
#: MONAI's demands restated; verify_metadata would download the schema that the metadata names.
_META_SCHEMA = Path(__file__).with_name("meta_schema_20240725.json")
_LEFT_BEHIND = re.compile(
    r"(^|/)(runs|previous|checkpoints|tensorboard|__pycache__|phantom|\.[^/]*)(/|$)|^(?!models/model\.pt$).*\.(pt|pth|ckpt)$",
    flags=re.DOTALL,
)
# What Python finds as a module in a folder of its search path, on which MONAI puts that of a bundle.
_CODE = {".py", ".pyc", ".pyd", ".pyw", ".pth", ".so", ".dll", ".dylib"}
# -I: neither the caller's folder nor PYTHON* variables; the package's own place is given by name.
_CHILD = "import sys; sys.path.insert(0, sys.argv[1]); from monai_cxrssl.apps.pack.check import _child; _child()"


def check_bundle(path: str | os.PathLike, strict: bool = False) -> dict[str, list[str]]:
    """Check a packed bundle, a folder, zip or tar, in a fresh process.

    Args:
        strict: evaluate its configs only as far as the allow-list goes, and refuse files of code; for packs from
            elsewhere. Without it a config runs as its maker wrote it.

    Returns:
        Sentences: ``passed``, ``problems`` (none when all is well) and ``notes``.

    Raises:
        ConfigurationError: there is no such folder or archive, or the archive is refused
            (:func:`monai_cxrssl.apps.pack.archive.extract_archive`).
    """
    path = Path(path).expanduser().resolve()
    with tempfile.TemporaryDirectory(prefix="check_") as temporary:
        folder = path
        if path.is_file():
            folder = _unpacked(path, Path(temporary) / "unpacked")
        elif not path.is_dir():
            raise ConfigurationError(f"There is no folder or archive {path}; give what the command wrote.")
        place = Path(temporary) / "empty"
        place.mkdir()
        told = Path(temporary) / "told.json"
        root = Path(monai_cxrssl.__file__).parents[1]
        environment = {**os.environ, "HF_HUB_OFFLINE": "1", "TQDM_DISABLE": "1"}
        result = subprocess.run(
            [sys.executable, "-I", "-c", _CHILD, str(root), str(folder), str(told), "strict" if strict else "free"],
            cwd=place, env=environment, capture_output=True, text=True, check=False,
        )  # fmt: skip
        if not told.is_file():
            last = (result.stderr.strip().splitlines() or [f"exit status {result.returncode}"])[-1]
            return {"passed": [], "problems": [f"The process of the check broke off: {last}"], "notes": []}
        return read_json(told)


def _unpacked(archive: Path, target: Path) -> Path:
    extract_archive(archive, target)
    inside = list(target.iterdir())
    if len(inside) != 1 or not inside[0].is_dir():
        raise ConfigurationError(f"{archive} does not hold exactly one folder, as a packed bundle does.")
    return inside[0]


class BundleCheck:
    """The checks, in this process, with an empty folder ``scratch``; :func:`check_bundle` gives them their own."""

    def __init__(self, folder: str | os.PathLike, scratch: str | os.PathLike, strict: bool = False) -> None:
        self.folder, self.scratch, self.strict = Path(folder), Path(scratch), strict
        self.passed: list[str] = []
        self.problems: list[str] = []
        self.notes: list[str] = []
        self.metadata: dict[str, Any] = {}
        self.settings: dict[str, Any] = {}
        self.network: torch.nn.Module | None = None

    def run(self) -> None:
        """Check all; nothing of the bundle is evaluated unless its files are what its sums say."""
        for check in (self.check_files, self.check_metadata, *((self.check_code,) if self.strict else ())):
            self._try(check)
        if self.problems:
            self.notes.append("The network was not built, since the files are not in order.")
            return
        if not self.strict:
            self.notes.append("The configs were run as code, as MONAI does; --strict keeps them to an allow-list.")
        with _strict_parsers() if self.strict else contextlib.nullcontext():
            for check in (self.check_load, self.check_forward, self.check_shapes, self.check_properties):
                self._try(check)

    def _try(self, check: Callable[[], str]) -> None:
        before = len(self.problems)
        try:
            with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
                warnings.simplefilter("ignore")
                said = check()
        except Exception as error:
            reason = clear_sentence(error) or f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
            self.problems.append(f"{check.__name__}: {reason}")
            return
        if len(self.problems) == before:
            self.passed.append(said)

    def check_files(self) -> str:
        """Sums, what must be there, and what must not."""
        if not (self.folder / SUMS).is_file():
            raise ConfigurationError(f"{self.folder.name} has no {SUMS}, so nothing tells whether its files are whole.")
        lines = (self.folder / SUMS).read_text(encoding="utf-8").splitlines()
        listed = {name: digest for digest, _, name in (line.partition("  ") for line in lines)}
        sums = file_sums(self.folder)
        for name in sorted(listed.keys() | sums.keys()):
            if name not in sums:
                self.problems.append(f"{name} is missing, which {SUMS} lists.")
            elif name not in listed:
                self.problems.append(f"{name} is not listed in {SUMS}.")
            elif listed[name] != sums[name]:
                self.problems.append(f"{name} is not the file that {SUMS} lists: its SHA-256 is {sums[name][:12]}…")
        self.problems += [f"{name} is missing, which every pack has." for name in _NEEDED if name not in sums]
        self.problems += [f"{name} does not belong into a pack." for name in sums if _LEFT_BEHIND.search(name)]
        self.problems += find_machine_paths(self.folder)
        return f"{len(sums)} files are what {SUMS} lists, and nothing else is there."

    def check_code(self) -> str:
        """No file that Python would import, and no item of a config beyond the allow-list; nothing is evaluated."""
        from monai_cxrssl.apps.strict.config import StrictConfigParser

        for path in sorted(self.folder.rglob("*")):
            if path.suffix.lower() in _CODE:
                self.problems.append(f"{path.relative_to(self.folder).as_posix()} is code, which is refused here.")
        configs = [path for path in sorted((self.folder / "configs").glob("*.json")) if path.name != "metadata.json"]
        changes = {"configs/multi_gpu_train.json": ["configs/train.json"]}  # which it changes, and is nothing without
        for path in configs:
            name = path.relative_to(self.folder).as_posix()
            parser = StrictConfigParser()
            parser.read_config([*(str(self.folder / other) for other in changes.get(name, ())), str(path)])
            try:
                parser.parse()
            except ConfigurationError as error:
                self.problems.append(f"{name}: {error}")
        return f"No code beyond the allow-list in {len(configs)} configs, and no file that could be imported."

    def check_metadata(self) -> str:
        """Schema, changelog, versions; evidence of these weights."""
        from monai.bundle import verify_metadata

        path = self.folder / "configs" / "metadata.json"
        verify_metadata(meta_file=str(path), filepath=str(_META_SCHEMA))
        self.metadata, self.settings = read_json(path), require_description(self.folder / "models" / "model.pt")
        if self.metadata["version"] not in self.metadata.get("changelog", {}):
            self.problems.append(f"The changelog says nothing of version {self.metadata['version']}.")
        for name, version in stated_versions(self.metadata).items():
            try:
                installed = distributions.version(name).partition("+")[0]
            except distributions.PackageNotFoundError:
                installed = "not installed"
            if installed != version:
                self.notes.append(f"{name} is {installed} here, the bundle was made with {version}.")
        provenance = self.folder / "report" / "provenance.json"
        weights = self.folder / "models" / "model.pt"
        if provenance.is_file() and is_of_weights(read_json(provenance), weights) is False:
            self.problems.append("The report is of other weights than models/model.pt.")
        return f"The metadata passes the schema; version {self.metadata['version']} stands in the changelog."

    def check_load(self) -> str:
        """``monai.bundle.load`` must build the network and fill every tensor; by itself it skips what does not fit."""
        import monai.bundle

        network = monai.bundle.load(
            self.folder.name, bundle_dir=str(self.folder.parent), workflow_type="inference", device="cpu",
            source="monaihosting",
        )  # fmt: skip
        if not isinstance(network, torch.nn.Module):
            raise ConfigurationError(
                "monai.bundle.load gave no network; configs/inference.json defines no network_def."
            )
        state, wanted = network.state_dict(), torch.load(self.folder / "models" / "model.pt", weights_only=True)
        wrong = [key for key in state.keys() | wanted.keys() if key not in state or key not in wanted]
        wrong += [key for key in state.keys() & wanted.keys() if not torch.equal(state[key], wanted[key])]
        if wrong:
            raise ConfigurationError(
                f"{len(wrong)} tensors of the network that configs/inference.json builds are not those of model.pt "
                f"(such as {min(wrong)}); the config is of another model."
            )
        self.network = network.eval()
        return f"monai.bundle.load fills all {len(state)} tensors of the network."

    def check_forward(self) -> str:
        """A random image gives finite outputs of the shapes that the metadata names."""
        if self.network is None:
            raise ConfigurationError("There is no network to try.")
        formats = self.metadata["network_data_format"]
        sides = formats["inputs"]["image"]["spatial_shape"]
        image = torch.rand(2, formats["inputs"]["image"]["num_channels"], *sides)
        with torch.no_grad():
            result = self.network(image)
        outputs = formats["outputs"]
        named = result if isinstance(result, Mapping) else {"pred": result}
        if len(outputs) == 1 and len(named) == 1:
            named = {next(iter(outputs)): next(iter(named.values()))}
        if set(named) != set(outputs):
            raise ConfigurationError(f"The network gives {sorted(named)}, the metadata names {sorted(outputs)}.")
        for name, value in named.items():
            about = outputs[name]
            shape = [2, about["num_channels"], *([] if value.ndim == 2 else about["spatial_shape"])]
            if list(value.shape) != shape or len(about["channel_def"]) not in (1, value.shape[1]):
                self.problems.append(f"The output {name} is {list(value.shape)}, the metadata says {shape}.")
            if not torch.isfinite(value).all():
                self.problems.append(f"The output {name} of a random image is not finite.")
        classes = self.settings.get("classes")
        label = outputs.get("label", outputs.get("pred", {}))
        if classes and list(label.get("channel_def", {}).values()) != classes:
            self.problems.append("The classes in the metadata are not those of models/model.json.")
        return f"A random image of {sides[0]} x {sides[1]} px gives {', '.join(sorted(outputs))} as the metadata says."

    def check_shapes(self) -> str:
        """``verify_net_in_out``; of two outputs for each, since it can judge only a bare tensor called ``pred``."""
        from monai.bundle import verify_net_in_out

        outputs = self.metadata["network_data_format"]["outputs"]
        for name, about in outputs.items():
            options: dict[str, Any] = {}
            if len(outputs) > 1:  # the other branch off
                options = {"network_def#decoder": "$None"} if name == "label" else {"network_def#num_classes": 0}
                options |= {"_meta_#network_data_format#outputs#pred": about, "network_def#return_dict": False}
            verify_net_in_out(
                net_id="network_def", meta_file=str(self.folder / "configs" / "metadata.json"), device="cpu",
                config_file=str(self.folder / "configs" / "inference.json"), bundle_root=str(self.folder), **options,
            )  # fmt: skip
        return "verify_net_in_out finds the shapes and types of the metadata."

    def check_properties(self) -> str:
        """Every workflow has the properties that MONAI requires; tried on a phantom with the model's classes."""
        from monai.bundle import ConfigWorkflow

        data = phantom_of_model(self.settings, self.scratch / "phantom")
        for kind, config in _WORKFLOWS:
            path = self.folder / "configs" / f"{config}.json"
            if not path.is_file():
                continue
            workflow = ConfigWorkflow(
                config_file=str(path), workflow_type=kind, bundle_root=str(self.folder), dataset_dir=str(data),
                output_dir=str(self.scratch / "out"), device="$torch.device('cpu')", batch_size=4, num_workers=0,
            )  # fmt: skip
            workflow.initialize()
            missing = workflow.check_properties()
            if missing:
                self.problems.append(f"configs/{config}.json lacks what MONAI requires: {', '.join(missing)}.")
        return "check_properties finds all that MONAI requires of training, inference and evaluation."


@contextlib.contextmanager
def _strict_parsers() -> Iterator[None]:
    """Let MONAI's own functions read configs with the strict parser; a switch of theirs for that there is none."""
    from monai_cxrssl.apps.strict.config import StrictConfigParser

    with (
        mock.patch("monai.bundle.scripts.ConfigParser", StrictConfigParser),
        mock.patch("monai.bundle.workflows.ConfigParser", StrictConfigParser),
    ):
        yield


def _child() -> None:
    folder, told, strict = Path(sys.argv[2]), Path(sys.argv[3]), sys.argv[4] == "strict"
    logging.disable(logging.WARNING)
    with tempfile.TemporaryDirectory(prefix="check_") as scratch:
        check = BundleCheck(folder, scratch, strict)
        check.run()
    content = {"passed": check.passed, "problems": check.problems, "notes": check.notes}
    told.write_text(json.dumps(content), encoding="utf-8")
