# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""ONNX export of trained networks through MONAI, 8-bit quantisation, onnxruntime sessions."""

from __future__ import annotations

import json
import logging
import os
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from monai.networks.utils import convert_to_onnx
from torch import Tensor, nn

from monai_cxrssl.errors import ConfigurationError
from monai_cxrssl.networks.encoder import Encoder
from monai_cxrssl.networks.fine_tuned.ensemble import EnsembleNet
from monai_cxrssl.networks.multi_task import MultiTaskNet
from monai_cxrssl.networks.prediction_head import PredictionHead
from monai_cxrssl.tiers import import_tier

__all__ = ["ExportedNetwork", "Runner", "export_network", "open_exported", "quantize_onnx", "require_onnx"]

#: From images ``(B, 1, S, S)`` float32 in [0, 1] to the outputs by name.
Runner = Callable[[np.ndarray], dict[str, np.ndarray]]


class ExportedNetwork(nn.Module):
    """A network and its prediction head, whose outputs are a tuple in the order of ``output_names``.

    An :class:`Encoder`, which gives embeddings, has no head.
    """

    def __init__(self, network: MultiTaskNet | EnsembleNet | Encoder, head: PredictionHead | None = None) -> None:
        super().__init__()
        self.network = network
        self.head = head
        self.output_names = ["embedding"]
        if isinstance(network, MultiTaskNet | EnsembleNet):
            branches = {"label": network.classification_head, "mask": network.decoder}
            self.output_names = [name for name, module in branches.items() if module is not None]
        self.eval()

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        """Return probabilities ``(B, C)`` and ``(B, channels, S, S)``, what there is of them, or embeddings."""
        output = self.network(image)
        return (output,) if self.head is None else tuple(self.head(output).values())

    def run(self, images: np.ndarray) -> dict[str, np.ndarray]:
        """Return the outputs by name, as a :data:`Runner` does."""
        with torch.no_grad():
            outputs = self(torch.from_numpy(images))
        return {name: value.numpy() for name, value in zip(self.output_names, outputs, strict=True)}


def require_onnx() -> None:
    """Raise MissingTierError unless the packages that write and run ONNX are installed."""
    for name in ("onnx", "onnxruntime", "onnxscript"):
        import_tier(name)


def export_network(
    network: ExportedNetwork,
    path: str | os.PathLike,
    image_size: int,
    description: Mapping[str, Any],
    opset: int | None = None,
) -> None:
    """Write a network, on the CPU, as ONNX for batches of any size.

    Args:
        image_size: S, pixels.
        description: plain JSON values, kept as metadata of the file: texts as they are and others as JSON.
        opset: of ONNX; by default the one that torch writes without conversion.

    Raises:
        ConfigurationError: the network cannot take the size, or cannot be written.
        MissingTierError: a package is absent.
    """
    require_onnx()
    import onnx

    if isinstance(network.network, MultiTaskNet | EnsembleNet):
        network.network.check_size(image_size, image_size)
    # Two images: a batch of one would be taken for a constant.
    example = torch.zeros(2, 1, image_size, image_size)
    try:
        with _quiet():
            model = convert_to_onnx(
                network, [example], input_names=["image"], output_names=network.output_names, opset_version=opset,
                filename=os.fspath(path), do_constant_folding=False, dynamo=True, external_data=False, verbose=False,
                dynamic_shapes={"image": {0: torch.export.Dim("batch")}},
            )  # fmt: skip
    except OSError:
        raise
    except Exception as error:  # exporters raise what they like
        words = " ".join(f"{type(error).__name__}: {error}".split())[:300]
        with_opset = f" with opset {opset}; leave out --opset" if opset else "; choose another encoder or decoder"
        raise ConfigurationError(f"This network cannot be written as ONNX{with_opset} ({words}).") from error
    written = next(entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx"))
    if opset not in (None, written):
        raise ConfigurationError(
            f"torch wrote opset {written} instead of {opset}; give --opset {written} or leave it out."
        )
    texts = {k: v if isinstance(v, str) else json.dumps(v, ensure_ascii=False) for k, v in description.items()}
    onnx.helper.set_model_props(model, texts)
    onnx.save(model, os.fspath(path))


def quantize_onnx(path: str | os.PathLike, out: str | os.PathLike) -> None:
    """Write a file of :func:`export_network`, its metadata kept, with 8-bit weights, convolutions and matrix products.

    The quantisation is dynamic: weights (unsigned; signed ones are several times slower on x86) are converted now,
    activations by their range in the batch at hand. An image's result thus depends a little on the others of its batch.
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


def open_exported(path: str | os.PathLike, names: Sequence[str], threads: int | None = None) -> Runner:
    """Load a file of :func:`export_network`, with outputs of these names, in onnxruntime, by default with all cores.

    Raises:
        ConfigurationError: onnxruntime cannot run the file.
        MissingTierError: a package is absent.
    """
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
            f"onnxruntime {onnxruntime.__version__} cannot run the file ({str(error).splitlines()[0][:300]}); give a "
            "lower --opset, or install a newer onnxruntime."
        ) from error
    return lambda images: dict(zip(names, session.run(list(names), {"image": images}), strict=True))


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
