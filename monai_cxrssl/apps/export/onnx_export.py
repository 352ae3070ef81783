# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""A trained network as one file for another runtime: ONNX, TorchScript or a program of ``torch.export``."""

from __future__ import annotations

import json
import logging
import os
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from monai_cxrssl.errors import ConfigurationError
from monai_cxrssl.networks.encoder import Encoder
from monai_cxrssl.networks.multi_task import MultiTaskNet

__all__ = ["FORMATS", "ExportedNetwork", "Runner", "export_network", "open_exported", "quantize_onnx", "require_onnx"]

#: Formats and the suffixes of their files.
FORMATS = {"onnx": ".onnx", "torchscript": ".ts", "exported": ".pt2"}
#: Of the description within a TorchScript file or a program; ONNX files keep its entries as metadata.
DESCRIPTION = "description.json"

Runner = Callable[[np.ndarray], dict[str, np.ndarray]]


class ExportedNetwork(nn.Module):
    """A network with its last steps, so that what leaves it are probabilities.

    Args:
        network: a :class:`MultiTaskNet`, or an :class:`Encoder`, which has no probabilities to give.
        task: ``"multi_class"`` (softmax over the classes) or ``"multi_label"`` (sigmoid of each).
        temperature: above 0; the logits of the label are divided by it.
    """

    def __init__(self, network: MultiTaskNet | Encoder, task: str = "multi_class", temperature: float = 1.0) -> None:
        super().__init__()
        self.network = network
        self.task = task
        self.temperature = float(temperature)
        if isinstance(network, Encoder):
            self.output_names = ["embedding"]
        else:
            named = {"label": network.classification_head, "mask": network.decoder}
            self.output_names = [name for name, module in named.items() if module is not None]
            network.return_dict = True
        self.eval()

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        """Return the outputs, in the order of ``output_names``.

        Args:
            image: ``(B, 1, S, S)`` float32 in [0, 1].

        Returns:
            ``label`` ``(B, C)`` and ``mask`` ``(B, channels, S, S)``, probabilities, as far as the network has them;
            or ``embedding`` ``(B, D)``.
        """
        output = self.network(image)
        if isinstance(output, Tensor):
            return (output,)
        if "label" in output:
            logits = output["label"] / self.temperature
            output["label"] = logits.softmax(1) if self.task == "multi_class" else logits.sigmoid()
        if "mask" in output:
            output["mask"] = output["mask"].sigmoid()
        return tuple(output[name] for name in self.output_names)


def require_onnx() -> None:
    """Raise ConfigurationError unless the packages that write and run ONNX are installed."""
    try:
        import onnx  # noqa: F401
        import onnxruntime  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise ConfigurationError(
            f"ONNX export needs the package {error.name}, which is not installed: "
            'pip install "monai-cxrssl[export]", or choose --format torchscript or exported.'
        ) from error


def export_network(
    network: ExportedNetwork,
    path: str | os.PathLike,
    image_size: int,
    description: Mapping[str, Any],
    file_format: str = "onnx",
    opset: int | None = None,
) -> None:
    """Write a network for batches of any size.

    Args:
        network: on the CPU.
        path: of the file.
        image_size: S, pixels.
        description: plain JSON values, kept in the file: as ONNX metadata, texts as they are and others as JSON, or as
            its ``description.json``.
        file_format: one of :data:`FORMATS`.
        opset: of ONNX; by default the one that torch writes without conversion.

    Raises:
        ConfigurationError: a package is absent, the network cannot take the size, or cannot be written in this format.
    """
    if file_format not in FORMATS:
        raise ConfigurationError(f"The format is {file_format!r}; expected one of {', '.join(FORMATS)}.")
    if isinstance(network.network, MultiTaskNet):
        network.network.check_size(image_size, image_size)
    if file_format == "onnx":
        require_onnx()
    path = Path(path)
    # Two images: a batch of one would be taken for a constant.
    example = torch.zeros(2, 1, image_size, image_size)
    extra = {DESCRIPTION: json.dumps(description, ensure_ascii=False)}
    shapes = {"image": {0: torch.export.Dim("batch")}}
    try:
        with torch.no_grad(), _quiet():
            if file_format == "onnx":
                _export_onnx(network, example, shapes, path, description, opset)
            elif file_format == "torchscript":
                torch.jit.save(torch.jit.trace(network, example, check_trace=False), path, _extra_files=extra)
            else:
                program = torch.export.export(network, (example,), dynamic_shapes=shapes)
                torch.export.save(program, path, extra_files=extra)
    except (ConfigurationError, OSError):
        raise
    except Exception as error:  # exporters raise what they like
        words = " ".join(f"{type(error).__name__}: {error}".split())[:300]
        opset_words = f" with opset {opset}" if opset and file_format == "onnx" else ""
        raise ConfigurationError(
            f"This network cannot be written as {file_format}{opset_words} ({words}); choose another --format"
            + (", or leave out --opset." if opset_words else ".")
        ) from error


def _export_onnx(
    network: ExportedNetwork,
    example: Tensor,
    shapes: dict[str, Any],
    path: Path,
    description: Mapping[str, Any],
    opset: int | None,
) -> None:
    program = torch.onnx.export(
        network, (example,), input_names=["image"], output_names=network.output_names, opset_version=opset,
        dynamic_shapes=shapes, dynamo=True, external_data=False, verbose=False,
    )  # fmt: skip
    assert program is not None
    model = program.model_proto
    found = next(entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx"))
    if opset is not None and found != opset:
        raise ConfigurationError(f"torch wrote opset {found} instead of {opset}; give --opset {found} or leave it out.")
    for name, value in description.items():
        entry = model.metadata_props.add()
        entry.key, entry.value = name, value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    path.write_bytes(model.SerializeToString())


def quantize_onnx(path: str | os.PathLike, out: str | os.PathLike) -> None:
    """Write an ONNX file with 8-bit weights whose convolutions and matrix products are computed in 8 bits.

    The quantisation is dynamic: weights (unsigned; signed ones are several times slower on x86) are converted now,
    activations by the range that they have in the batch at hand. An image's result thus depends a little on the others
    of its batch.

    Args:
        path: file of :func:`export_network`.
        out: where the result goes, with the same metadata.
    """
    require_onnx()
    import onnx
    from onnxruntime.quantization import QuantType, quantize_dynamic

    model = onnx.load(os.fspath(path))
    # The shapes that torch noted of weights do not hold after the quantiser has transposed them.
    del model.graph.value_info[:]
    kept = {entry.key: entry.value for entry in model.metadata_props}
    with _quiet():
        quantize_dynamic(model, os.fspath(out), weight_type=QuantType.QUInt8)
    result = onnx.load(os.fspath(out))
    onnx.helper.set_model_props(result, kept | {"quantization": "dynamic, 8-bit weights and activations"})
    onnx.save(result, os.fspath(out))


def open_exported(
    path: str | os.PathLike, file_format: str, names: Sequence[str], threads: int | None = None
) -> Runner:
    """Load a file of :func:`export_network`, as a user of it would.

    Args:
        path: the file.
        file_format: one of :data:`FORMATS`.
        names: of the outputs.
        threads: of onnxruntime; by default all cores.

    Returns:
        A function from images ``(B, 1, S, S)`` float32 to the outputs by name.
    """
    if file_format == "onnx":
        require_onnx()
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        if threads is not None:
            options.intra_op_num_threads = threads
        try:
            session = onnxruntime.InferenceSession(os.fspath(path), options, providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime's own classes
            raise ConfigurationError(
                f"onnxruntime {onnxruntime.__version__} cannot run the file ({str(error).splitlines()[0][:300]}); give "
                "a lower --opset, or install a newer onnxruntime."
            ) from error
        return lambda images: dict(zip(names, session.run(list(names), {"image": images}), strict=True))
    with _quiet():
        module = torch.jit.load(path) if file_format == "torchscript" else torch.export.load(path).module()

    def run(images: np.ndarray) -> dict[str, np.ndarray]:
        with torch.no_grad():
            outputs = module(torch.from_numpy(images))
        return {name: value.numpy() for name, value in zip(names, outputs, strict=True)}

    return run


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the exporters' advice to developers from the user; what goes wrong is raised."""
    disabled = logging.root.manager.disable
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        logging.disable(max(disabled, logging.WARNING))
        try:
            yield
        finally:
            logging.disable(disabled)
