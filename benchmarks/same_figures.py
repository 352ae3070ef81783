# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Figures of a checkout that a refactoring must not change, and the comparison of two checkouts.

``python benchmarks/same_figures.py collect --checkout DIR --work WORK --out before.json`` runs the nine default runs,
the evaluation and the ONNX export of ``multitask``, a cache and the audits of the real data sets, from the files in
DIR; ``python benchmarks/same_figures.py compare before.json after.json`` lists what differs, apart from times and
paths, with exit status 1 if anything does. Both checkouts on one machine, with the same packages and number of threads.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

PRETRAINING = ("simclr", "micle", "moco", "inpainting", "curricular", "spcxr", "eva_x")
FINE_TUNING = ("classification", "lung_segmentation", "multitask")
#: What two equal runs differ in.
UNEQUAL = re.compile(r"second|per_second|time|date|memory|verdict|throughput|wait|path|folder|host|version|commit|sha")


def main() -> int:
    """Collect or compare."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    verbs = parser.add_subparsers(dest="verb", required=True)
    collect = verbs.add_parser("collect")
    collect.add_argument("--checkout", type=Path, required=True)
    collect.add_argument("--work", type=Path, required=True, help="new folder for the outputs")
    collect.add_argument("--shared", type=Path, help="folder of the real data sets; default ../shared/data")
    collect.add_argument("--only", nargs="+", default=[*PRETRAINING, *FINE_TUNING, "cache", "audit"])
    collect.add_argument("--out", type=Path, required=True)
    compare = verbs.add_parser("compare")
    compare.add_argument("before", type=Path)
    compare.add_argument("after", type=Path)
    args = parser.parse_args()
    if args.verb == "compare":
        return _compare(json.loads(args.before.read_text()), json.loads(args.after.read_text()))
    checkout, work = args.checkout.resolve(), args.work.resolve()
    work.mkdir(parents=True, exist_ok=True)
    figures: dict[str, Any] = json.loads(args.out.read_text()) if args.out.exists() else {}
    for name in args.only:
        start = time.monotonic()
        if name in PRETRAINING or name in FINE_TUNING:
            figures[name] = _bundle(checkout, work, name)
        elif name == "cache":
            figures[name] = _cache(checkout, work)
        else:
            figures[name] = _audits(checkout, work, args.shared or checkout.parent / "shared" / "data")
        args.out.write_text(json.dumps(figures, indent=1) + "\n")
        print(f"{name}: {time.monotonic() - start:.0f} s", flush=True)
    return 0


def _run(checkout: Path, *words: Any, status: tuple[int, ...] = (0,)) -> None:
    environment = os.environ | {"PYTHONPATH": str(checkout), "PYTHONWARNINGS": "ignore", "MPLBACKEND": "Agg"}
    done = subprocess.run(
        [sys.executable, "-m", *map(str, words)], cwd=checkout, env=environment, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    if done.returncode not in status:
        sys.exit(
            f"{' '.join(map(str, words))} ended with {done.returncode}:\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
        )


def _bundle(checkout: Path, work: Path, name: str) -> dict[str, Any]:
    """One default run, as the README starts it; of ``multitask`` the evaluation and the export too."""
    trained = work / "training" / name
    _run(checkout, "monai.bundle", "run", "--config_file", f"bundles/{name}/train.json", "--output_dir", trained)
    bundle = checkout / "bundles" / name
    found: dict[str, Any] = {"metrics": json.loads((trained / "metrics.json").read_text())}
    found["weights"] = _weights(bundle / "models" / "model.pt")
    if name != "multitask":
        return found
    out = work / "evaluation"
    _run(checkout, "monai.bundle", "run", "--config_file", f"bundles/{name}/configs/evaluate.json", "--output_dir", out)
    found["predictions"] = _table(out / "predictions.csv")
    found["report"] = {path.stem: json.loads(path.read_text()) for path in sorted((out / "report").glob("*.json"))}
    found["evaluation"] = json.loads((out / "evaluation.json").read_text())
    predicted = work / "inference"
    films = sorted((trained / "phantom" / "images").rglob("*.dcm"))[:24]
    folder = work / "films"
    folder.mkdir()
    for film in films:
        (folder / film.name).write_bytes(film.read_bytes())
    _run(checkout, "monai.bundle", "run", "--config_file", f"bundles/{name}/configs/inference.json", "--dataset_dir",
         folder, "--output_dir", predicted)  # fmt: skip
    found["inference"] = _digests(predicted, (".png", ".dcm", ".nii", ".gz", ".csv"))
    exported = work / "model.onnx"
    _run(checkout, "monai_cxrssl", "export", bundle / "models" / "model.pt", "--out", exported)
    found["onnx"] = _onnx(exported)
    return found


def _weights(path: Path) -> dict[str, str]:
    """Digest of each tensor of a state dict."""
    import torch

    state = torch.load(path, weights_only=True)
    return {key: hashlib.sha256(value.contiguous().numpy().tobytes()).hexdigest()[:16] for key, value in state.items()}


def _table(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def _digests(folder: Path, endings: tuple[str, ...]) -> dict[str, str]:
    """SHA-256 of the files' contents; of DICOM the pixels only, whose identifiers are new each time."""
    import pydicom

    found = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.suffix in endings and "tensorboard" not in path.parts:
            data = pydicom.dcmread(path).PixelData if path.suffix == ".dcm" else path.read_bytes()
            found[path.relative_to(folder).as_posix()] = hashlib.sha256(data).hexdigest()[:16]
    return found


def _onnx(path: Path) -> dict[str, list[float]]:
    """Outputs of an exported network on a seeded image."""
    import numpy as np
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    entry = session.get_inputs()[0]
    side = next((int(size) for size in entry.shape[::-1] if isinstance(size, int) and size > 3), 64)
    image = np.random.default_rng(0).random((2, 1, side, side), dtype=np.float32)
    outputs = session.run(None, {entry.name: image})
    return {
        output.name: [float(value.mean()), float(value.std()), *value.reshape(-1)[:16].astype(float).tolist()]
        for output, value in zip(session.get_outputs(), outputs, strict=True)
    }


def _cache(checkout: Path, work: Path) -> dict[str, str]:
    """Bytes of the cache of a phantom set."""
    _run(checkout, "monai_cxrssl", "phantom", work / "set", "--patients", 12, "--size", 160)
    _run(checkout, "monai_cxrssl", "index", work / "set", "--out", work / "set.json")
    _run(checkout, "monai_cxrssl", "cache", work / "set.json", "--out", work / "cache", "--side", 96)
    # A block ends with an index of its files and their modification times; the pixels before it must be the same.
    pixels = json.loads((work / "cache" / "cache.json").read_text())["pixel_bytes"]
    return {
        path.name: hashlib.sha256(path.read_bytes()[:pixels]).hexdigest()
        for path in sorted((work / "cache").glob("block-*.cxr"))
    }


def _audits(checkout: Path, work: Path, shared: Path) -> dict[str, Any]:
    """Datalists, splits and audits of the real data sets."""
    found = {}
    for folder in sorted(path for path in shared.iterdir() if path.is_dir()):
        index, split, audit = (work / f"{folder.name}.{word}.json" for word in ("index", "split", "audit"))
        _run(checkout, "monai_cxrssl", "index", folder, "--out", index)
        _run(checkout, "monai_cxrssl", "split", index, "--out", split, status=(0, 1))
        _run(checkout, "monai_cxrssl", "audit", split, "--json", audit, status=(0, 1))
        lists = {path.name: hashlib.sha256(path.read_bytes()).hexdigest()[:16] for path in (index, split)}
        found[folder.name] = lists | {"audit": json.loads(audit.read_text())}
    return found


def _compare(before: Any, after: Any) -> int:
    different = list(_differences(before, after, ""))
    for line in different:
        print(line)
    counted = sum(1 for _ in _leaves(before, ""))
    print(f"{counted} figures before, {sum(1 for _ in _leaves(after, ''))} after, {len(different)} differences")
    return int(bool(different))


def _leaves(value: Any, place: str) -> Any:
    if isinstance(value, dict):
        for key, inner in value.items():
            if not (isinstance(inner, str | int | float) and UNEQUAL.search(key.lower())):
                yield from _leaves(inner, f"{place}/{key}")
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            yield from _leaves(inner, f"{place}/{number}")
    else:
        yield place, value


def _differences(before: Any, after: Any, place: str) -> Any:
    old, new = dict(_leaves(before, place)), dict(_leaves(after, place))
    for key in [*old, *(key for key in new if key not in old)]:
        if old.get(key, "absent") != new.get(key, "absent"):
            yield f"{key}: {old.get(key, 'absent')} -> {new.get(key, 'absent')}"


if __name__ == "__main__":
    sys.exit(main())
