# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Saliency maps of fine-tuned networks.

It stands beside ``embed`` rather than with the networks: it drives a finished network over images and adds no part to
it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from monai_cxrssl.errors import ConfigurationError
from monai_cxrssl.networks.evaluation_mode import in_evaluation
from monai_cxrssl.networks.fine_tuned.ensemble import EnsembleNet, label_logits_of, members_of
from monai_cxrssl.networks.normalisation import normalised_features
from monai_cxrssl.networks.parts.label_head import LabelHead, label_logits

__all__ = ["attention_method", "saliency_maps", "saliency_method"]

#: The methods that a kind of encoder takes, the default one first.
_METHODS = {
    "grad_cam": ("a convolutional encoder", ("grad_cam", "hires_cam")),
    "token_grad_cam": ("a vision transformer", ("token_grad_cam",)),
}

# Of a convolutional network the last map is too coarse to judge by: on phantoms with a marker in a corner that alone
# gave the label away, Grad-CAM put more than chance on the lungs, HiResCAM two maps before it most on the marker.
_FINE_MAP = -3


def saliency_method(network: nn.Module) -> str:
    """Return what ``method="auto"`` means for a network: ``"grad_cam"`` or ``"token_grad_cam"``."""
    from segmentation_models_pytorch.encoders.timm_vit import TimmViTEncoder

    encoder = members_of(network)[0].encoder
    return "token_grad_cam" if isinstance(encoder, TimmViTEncoder) else "grad_cam"


def attention_method(network: nn.Module) -> tuple[str, int]:
    """Return the method and the feature map that attention is judged by, for :func:`saliency_maps`.

    HiResCAM (Draelos and Carin 2020, arXiv 2011.08891) on the third map from the end for convolutional networks; for
    transformers, all of whose maps are as fine, token Grad-CAM on the last.
    """
    if saliency_method(network) == "token_grad_cam":
        return "token_grad_cam", -1
    # The first of the channels is the image's.
    maps = len(getattr(members_of(network)[0].encoder, "out_channels", ())) - 1
    return "hires_cam", max(_FINE_MAP, -maps) if maps > 0 else -1


def saliency_maps(
    network: nn.Module,
    image: Tensor,
    class_index: int | Sequence[int] | Tensor | None = None,
    method: str = "auto",
    layer: int = -1,
) -> Tensor:
    """Return Grad-CAM maps: where the last feature map speaks for a class.

    Each channel of the encoder's last feature map, which the label head reads, is weighed with the mean gradient of the
    class's logit over the positions; their sum, negative parts cut off (ReLU), is the map (Selvaraju et al. 2017, arXiv
    1610.02391, equations 1 and 2). Vision transformers get the same on the token map after the last block, prefix
    tokens dropped and the rest laid out as their grid. Where the label head pools that grid and has no norm, the sum
    before the ReLU is the logit, less its bias and up to a factor. Where the head reads the class token, the map is the
    one before the last block, whose attention takes the evidence there; after it a position says nothing to the token.
    What such a map cannot show is that attention may have carried evidence from one position to another.

    The last map of a convolutional encoder is coarse (stride 32) and each of its positions sees most of the image, so
    that small evidence far off, such as a marker in a corner, may be shown in the middle. An earlier ``layer`` is
    finer; there, ``"hires_cam"`` multiplies gradient and features position by position instead of averaging the
    gradient (Draelos and Carin 2020, arXiv 2011.08891). On the last map the two are equal.

    The network is left as found: the mode of every module, ``requires_grad`` and ``grad`` of every weight. Frozen
    encoders and callers under ``torch.no_grad``, ``torch.inference_mode`` or autocast are served.
    The map of an ensemble is the mean of its members' for one class.
    ``monai.visualize.GradCAM`` clears the gradients, leaves its hooks, and takes one class for all images of a batch;
    the tests compare with it.

    Args:
        network: a :class:`~monai_cxrssl.networks.MultiTaskNet` with a label head, an ensemble of such, or a model of
            segmentation-models-pytorch with ``aux_params``.
        image: ``(B, in_channels, H, W)`` float in [0, 1], on the device of the network.
        class_index: the class of all images, or one of each ``(B,)``; ``None`` for the class of the highest logit of
            each image, which in a multi-class task is the one predicted.
        method: ``"auto"``, or ``"grad_cam"`` or ``"hires_cam"`` for convolutional encoders, ``"token_grad_cam"`` for
            vision transformers.
        layer: which feature map of the encoder, counted from the end: -1 is the last (stride 32), -3 mostly that of
            stride 8; vision transformers have -1 only. Others than -1 take a backward pass through the encoder.

    Returns:
        ``(B, 1, H, W)`` float32 in [0, inf), in the units of the logit, enlarged bilinearly; 0 everywhere where nothing
        speaks for the class.

    Raises:
        ConfigurationError: the network has no label head, or the image, the class or the method does not fit it.

    Example:
        >>> from monai_cxrssl.networks import MultiTaskNet
        >>> saliency_maps(MultiTaskNet("resnet18", 3, decoder=None), torch.rand(2, 1, 64, 96), [0, 2]).shape
        torch.Size([2, 1, 64, 96])
    """
    if isinstance(network, EnsembleNet):
        return _mean_map(network, image, class_index, method, layer)
    head = getattr(network, "classification_head", None)
    if head is None or not hasattr(network, "encoder"):
        raise ConfigurationError(
            f"A saliency map shows the evidence for a class, and this {type(network).__name__} has no label head; give "
            "one with num_classes above 0."
        )
    if image.ndim != 4 or not image.is_floating_point():
        raise ConfigurationError(
            f"The images are {image.dtype} of shape {tuple(image.shape)}; expected floating point (B, channels, H, W)."
        )
    fitting = saliency_method(network)
    kind, methods = _METHODS[fitting]
    if method not in ("auto", *methods):
        raise ConfigurationError(f"The saliency method is {method!r}; {kind} takes {', '.join(('auto', *methods))}.")
    deep = layer != -1
    if deep and fitting == "token_grad_cam":
        raise ConfigurationError(f"The saliency layer is {layer}; {kind} takes -1, its last token map.")
    if hasattr(network, "check_size"):
        network.check_size(int(image.shape[-2]), int(image.shape[-1]))  # type: ignore[operator]
    with torch.inference_mode(False), in_evaluation(network):
        # No gradient is needed before the map, so for the last one the encoder's activations are not kept. For others
        # the image asks for one, as the weights may be frozen.
        given = image.detach().to(next(network.encoder.parameters()).dtype, copy=deep)  # type: ignore
        if isinstance(head, LabelHead) and head[0].takes_token:
            return _before_last_block(network, given, class_index)
        with torch.set_grad_enabled(deep):
            features = normalised_features(network, given.requires_grad_() if deep else given)
        maps = features[0] if isinstance(features, tuple) else features  # transformers add their prefix tokens
        if not -len(maps) < layer < 0:
            raise ConfigurationError(f"The saliency layer is {layer}; the encoder has -1 to {1 - len(maps)}.")
        with torch.enable_grad(), torch.autocast(image.device.type, enabled=False):
            last = maps[-1].to(next(head.parameters()).dtype)
            target = maps[layer] if deep else last.detach().requires_grad_()
            logits = label_logits(network, [last if deep else target])
            chosen = _classes(class_index, logits)
            # One backward pass for all: the logit of an image depends on no other image's features.
            gradient = torch.autograd.grad(logits.gather(1, chosen[:, None]).sum(), target, allow_unused=True)[0]
    if gradient is None:
        raise ConfigurationError(
            f"The saliency layer is {layer}, but this encoder hands out that map beside its way to the label head, so "
            "there is no gradient at it. Choose another layer; -1 always works."
        )
    weights = gradient.float() if method == "hires_cam" else gradient.float().mean((2, 3), keepdim=True)
    return _enlarged(weights, target, image)


def _mean_map(network: EnsembleNet, image: Tensor, class_index: Any, method: str, layer: int) -> Tensor:
    """Return the mean of the members' maps, without a given class for the one that the ensemble ranks first."""
    if class_index is None and network.classification_head is not None:
        with torch.no_grad(), in_evaluation(network):
            class_index = label_logits_of(network, image).argmax(1)
    maps = [saliency_maps(member, image, class_index, method, layer) for member in network.members]
    return torch.stack(maps).mean(0)


def _before_last_block(network: nn.Module, image: Tensor, class_index: Any) -> Tensor:
    """Return the maps of a transformer whose label head reads the class token, in evaluation mode."""
    model: Any = network.encoder.model  # type: ignore[union-attr]
    kept: list[Tensor] = []

    def keep(module: nn.Module, arguments: tuple[Any, ...]) -> tuple[Any, ...]:
        torch.set_grad_enabled(True)  # the graph begins here
        kept.append(arguments[0].requires_grad_())
        return (kept[0], *arguments[1:])

    handle = model.blocks[-1].register_forward_pre_hook(keep)
    try:
        with torch.no_grad(), torch.autocast(image.device.type, enabled=False):
            features = normalised_features(network, image)
            logits = label_logits(network, features)
            chosen = _classes(class_index, logits)
            gradient = torch.autograd.grad(logits.gather(1, chosen[:, None]).sum(), kept[0])[0]
    finally:
        handle.remove()
    grid = features[0][-1].shape[2:]
    patches, slopes = (
        tokens[:, -grid.numel() :].mT.unflatten(2, grid).float() for tokens in (kept[0].detach(), gradient)
    )
    return _enlarged(slopes.mean((2, 3), keepdim=True), patches, image)


def _enlarged(weights: Tensor, target: Tensor, image: Tensor) -> Tensor:
    """Return the positive part of a weighed sum of channels, at the size of the image."""
    cam = (weights * target.detach().float()).sum(1, keepdim=True).relu_()
    return nn.functional.interpolate(cam, size=image.shape[-2:], mode="bilinear", align_corners=False)


def _classes(class_index: int | Sequence[int] | Tensor | None, logits: Tensor) -> Tensor:
    """One class number for each image, ``(B,)`` int64."""
    if class_index is None:
        return logits.detach().argmax(1)
    chosen = torch.as_tensor(class_index, device=logits.device)
    images, classes = logits.shape
    if chosen.is_floating_point() or chosen.shape not in ((), (images,)):
        raise ConfigurationError(
            f"class_index is {chosen.dtype} of shape {tuple(chosen.shape)} for {images} images; expected one whole "
            "number, or one per image."
        )
    if bool(((chosen < 0) | (chosen >= classes)).any()):
        raise ConfigurationError(
            f"class_index holds numbers from {int(chosen.min())} to {int(chosen.max())}; the network has classes 0 to "
            f"{classes - 1}."
        )
    return chosen.long().expand(images)
