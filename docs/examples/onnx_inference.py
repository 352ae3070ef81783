# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Run an exported network with numpy and onnxruntime alone: python onnx_inference.py model.onnx film.png film.npy ...

An image is an 8- or 16-bit grey picture (read by Pillow) or a .npy array (H, W) of uint8, upright, bright = dense.
"""

import json
import sys

import numpy as np
import onnxruntime


def averages(old, new):
    """Weights (new, old) that shrink an axis by area averages, or enlarge it linearly."""
    if new > old:
        at = ((np.arange(new) + 0.5) * old / new - 0.5).clip(0, old - 1)[:, None]
        return np.maximum(0, 1 - np.abs(at - np.arange(old)))
    edges = np.arange(new + 1) * old / new
    starts, ends, cells = edges[:-1, None], edges[1:, None], np.arange(old)
    return np.clip(np.minimum(ends, cells + 1) - np.maximum(starts, cells), 0, 1) * new / old


def resize(film, rows, columns):
    # In float64, then float32: what lies halfway between two grey levels must do so exactly.
    return np.float32(averages(film.shape[0], rows) @ film @ averages(film.shape[1], columns).T)


def reduce(film, rows, columns):
    """Shrink to whole grey levels; halves go to the even one, or up where both sides are exactly halved."""
    small = resize(film, rows, columns)
    return np.floor(small + 0.5) if film.shape == (2 * rows, 2 * columns) else np.rint(small)


def read(path):
    if path.endswith(".npy"):
        return np.load(path)
    from PIL import Image

    picture = Image.open(path)
    film = np.asarray(picture if picture.mode.startswith("I;16") else picture.convert("L"))
    return film if film.dtype == np.uint8 else np.rint(film / 257.0)


def prepare(film, steps):
    """Do what the file's metadata says: reduce, scale, resize into a padded square."""
    # The first step is done, and a normalisation after these is the network's own.
    small, scale, square = steps[1:4]
    factor = min(1, small["shorter_side"] / min(film.shape), small["longest_side"] / max(film.shape))
    film = reduce(film, *(max(1, round(side * factor)) for side in film.shape)) / scale["divide_by"]
    padded = np.full(square["size"], square["fill"], np.float32)
    height, width = padded.shape
    factor = min(height / film.shape[0], width / film.shape[1])
    rows, columns = (max(1, min(height, width, round(side * factor))) for side in film.shape)
    top, left = (height - rows) // 2, (width - columns) // 2
    padded[top : top + rows, left : left + columns] = resize(film, rows, columns).clip(0, 1)
    return padded[None, None]


if __name__ == "__main__":
    session = onnxruntime.InferenceSession(sys.argv[1], providers=["CPUExecutionProvider"])
    about = session.get_modelmeta().custom_metadata_map
    for path in sys.argv[2:]:
        image = prepare(read(path), json.loads(about["preprocessing"]))
        names = [output.name for output in session.get_outputs()]
        outputs = dict(zip(names, session.run(None, {"image": image}), strict=True))
        label = outputs["label"][0].tolist() if "label" in outputs else []
        told = {"file": path, **dict(zip(json.loads(about["class_names"]), label, strict=True))}
        if "mask" in outputs:
            told["mask_pixels"] = int((outputs["mask"] > 0.5).sum())
        print(json.dumps(told))
