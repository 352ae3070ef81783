# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Execution of the tutorials' notebooks, in place.

python docs/run_notebooks.py [NOTEBOOK ...]
"""

from __future__ import annotations

import base64
import io
import os
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

import nbformat
import numpy as np
from nbclient import NotebookClient
from PIL import Image

__all__ = ["NOTEBOOKS", "execute"]

NOTEBOOKS = sorted((Path(__file__).parent / "tutorials").glob("*.ipynb"))
#: All that a committed notebook says of where it ran.
METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}


def execute(
    path: Path, folder: Path, python: str | os.PathLike = sys.executable, environment: Mapping[str, str] = os.environ
) -> nbformat.NotebookNode:
    """Run a notebook from top to bottom and return it with its outputs.

    Args:
        path: of the notebook, which stays as it is.
        folder: working folder of the kernel.
        python: interpreter of the kernel; it needs ipykernel.
        environment: variables of the kernel. ``MPLBACKEND`` is left out, since it would keep pictures out.

    Raises:
        CellExecutionError: a cell failed.
    """
    notebook = nbformat.read(path, as_version=4)
    resources = {"metadata": {"path": str(folder)}}
    client = NotebookClient(
        notebook, timeout=600, record_timing=False, coalesce_streams=True, kernel_name="python3", resources=resources
    )
    client.create_kernel_manager()
    client.km.kernel_spec.argv[0] = str(python)
    client.execute(env={name: value for name, value in environment.items() if name != "MPLBACKEND"})
    notebook.metadata = nbformat.from_dict(METADATA)
    for cell in notebook.cells:
        cell.metadata = nbformat.NotebookNode()
    return notebook


def shrink_pictures(notebook: nbformat.NotebookNode) -> None:
    """Bring the PNGs of a notebook to a palette, which halves them: the repository keeps every version of them."""
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            data = output.get("data", {})
            if "image/png" in data:
                data.pop("image/jpeg", None)
                picture = Image.open(io.BytesIO(base64.b64decode(data["image/png"]))).convert("RGBA")
                flat = Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture).convert("RGB")
                file = io.BytesIO()
                _with_palette(flat).save(file, "PNG", optimize=True)
                data["image/png"] = base64.b64encode(file.getvalue()).decode()


def _with_palette(picture: Image.Image, greys: int = 56, colours: int = 72) -> Image.Image:
    """Return an RGB image with a palette of greys and, apart from them, its colours, however few its lines."""
    pixels = np.asarray(picture)
    indices = np.rint(pixels.mean(axis=-1) * (greys - 1) / 255).astype(np.uint8)
    palette = np.linspace(0, 255, greys).round().astype(np.uint8).repeat(3).tolist()
    coloured = np.ptp(pixels, axis=-1) > 24
    if coloured.any():
        part = Image.fromarray(pixels[coloured][None]).quantize(colours)
        indices[coloured] = greys + np.asarray(part)[0]
        palette += part.getpalette() or []
    result = Image.fromarray(indices)
    result.putpalette(palette)
    return result


if __name__ == "__main__":
    for tutorial in [Path(name) for name in sys.argv[1:]] or NOTEBOOKS:
        with tempfile.TemporaryDirectory() as empty:
            executed = execute(tutorial, Path(empty))
        shrink_pictures(executed)
        nbformat.write(executed, tutorial)
        print(tutorial)
