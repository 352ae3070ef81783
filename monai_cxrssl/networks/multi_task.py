# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""One encoder with two branches: a segmentation decoder and a label head."""

from __future__ import annotations

import logging
import math
import os
import re
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from monai_cxrssl.errors import ConfigurationError
from monai_cxrssl.networks.encoder import refuse_size
from monai_cxrssl.networks.encoder_factory import is_vision_transformer
from monai_cxrssl.networks.normalisation import normalised_features
from monai_cxrssl.networks.parts.head_layers import HeadLayers, starting_head_layers
from monai_cxrssl.networks.parts.label_head import LabelHead, label_logits
from monai_cxrssl.networks.parts.positions import positions_of
from monai_cxrssl.networks.parts.scripted import scripted_network
from monai_cxrssl.networks.start import Start
from monai_cxrssl.networks.starting_normalisation import AUTO
from monai_cxrssl.networks.weights.containers import read_weights

__all__ = ["MultiTaskNet"]

logger = logging.getLogger(__name__)

#: smp's decoders of five resolutions, and the one of a single resolution.
CNN_DECODERS = ("Unet", "UnetPlusPlus", "MAnet", "Linknet", "FPN", "UPerNet", "DeepLabV3Plus")
VIT_DECODERS = ("DPT",)
#: The modules beside the encoder, with smp's names.
_BRANCH_MODULES = ("decoder", "segmentation_head", "classification_head")


def _leaves(outputs: Iterable[Tensor]) -> set[int]:
    """Return the ids of the weights that the outputs depend on, read from the graph without a backward pass."""
    waiting = [output.grad_fn for output in outputs if output.grad_fn is not None]
    seen: set[Any] = set(waiting)
    found: set[int] = set()
    while waiting:
        node: Any = waiting.pop()
        if hasattr(node, "variable"):
            found.add(id(node.variable))
        for following, _ in node.next_functions:
            if following is not None and following not in seen:
                seen.add(following)
                waiting.append(following)
    return found


class MultiTaskNet(nn.Module):
    """An encoder that classifies, segments, or both; after Ridzuan et al. 2022, arXiv 2201.06052.

    The modules have the names of segmentation-models-pytorch (smp): ``encoder``, ``decoder``, ``segmentation_head``
    and ``classification_head``. So the ``model.pt`` of a pretraining bundle fills the encoder, and the state dict of a
    whole ``MultiTaskNet`` fills the smp model of the same decoder, encoder and ``aux_params``, the label head of a
    transformer aside, which has a norm that smp's lacks, and one with ``head_layers``. Weights that no output
    depends on have ``requires_grad`` off, as data-parallel training demands.

    Args:
        encoder_name: a name of smp (``resnet18``, ``densenet121`` …) or ``tu-`` and a timm model; for it,
            ``encoder_weights``, ``encoder_arguments``, ``input_normalisation``, ``pooling``, ``positions``,
            ``drop_path`` and ``start`` see :class:`~monai_cxrssl.networks.Encoder`.
        num_classes: outputs of the label head (pooling, norm, dropout, linear); 0 for none.
        head_norm: before its linear layer: ``"layer"``, ``"batch"`` (without weights, for a linear probe), ``"none"``,
            or ``"auto"``: ``layer`` for vision transformers and ``none`` for others; see
            :class:`~monai_cxrssl.networks.parts.label_head.LabelHead`.
        head_layers: how many layers of the projection head that ``pretrained`` carries stand between the pooling and
            the label head (SimCLRv2); they count as pretrained, not as heads. ``None`` for those of fine-tuned weights.
        decoder: ``"Unet"``, ``"UnetPlusPlus"``, ``"MAnet"``, ``"Linknet"``, ``"FPN"``, ``"UPerNet"`` or
            ``"DeepLabV3Plus"`` for convolutional encoders, ``"DPT"`` for vision transformers, ``None`` for no
            segmentation. DeepLabV3Plus dilates the last stage of the encoder, with the same weights.
        dropout: share of the pooled features that it drops in training, in [0, 1).
        pretrained: weights, see :class:`~monai_cxrssl.networks.Encoder`. Of a file that also
            holds a decoder or a label head, each module is taken whose tensors all fit; the log says which.
        return_dict: return a dictionary; else the bare tensor of the only branch, or a tuple (label, mask).

    Raises:
        ConfigurationError: when both branches are off, the decoder cannot read the encoder, a name is unknown, or the
            weights do not fit or cannot be had.

    Example:
        >>> network = MultiTaskNet("resnet18", num_classes=4)
        >>> {name: tuple(value.shape) for name, value in network(torch.zeros(2, 1, 64, 64)).items()}
        {'label': (2, 4), 'mask': (2, 1, 64, 64)}
    """

    def __init__(
        self,
        encoder_name: str = "resnet50",
        num_classes: int = 0,
        decoder: str | None = "Unet",
        mask_channels: int = 1,
        in_channels: int = 1,
        dropout: float = 0.0,
        pretrained: str | os.PathLike | None = None,
        encoder_weights: str | None = None,
        return_dict: bool = True,
        encoder_arguments: Mapping[str, Any] | None = None,
        input_normalisation: Any = AUTO,
        pooling: str = AUTO,
        positions: str = AUTO,
        drop_path: float | None = None,
        head_norm: str = AUTO,
        head_layers: int | Mapping[str, Any] | None = None,
        start: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        if not num_classes and decoder is None:
            raise ConfigurationError(
                "Both branches of the network are off (num_classes 0 and no decoder); give the number of classes, a "
                "decoder, or both."
            )
        if num_classes < 0 or mask_channels < 1 or not 0 <= dropout < 1:
            raise ConfigurationError(
                f"A network with {num_classes} classes, {mask_channels} mask channels and dropout {dropout} cannot be "
                "built; expected 0 or more, 1 or more, and a share in [0, 1)."
            )
        self.encoder_name = encoder_name
        self.num_classes = int(num_classes)
        self.decoder_name = decoder
        self.return_dict = return_dict
        given = Start(
            encoder_weights, pretrained, encoder_arguments, input_normalisation, pooling, positions, drop_path,
            head_norm, head_layers,
        )  # fmt: skip
        given = given.overlaid(start)
        built = given.build(encoder_name, in_channels)
        self.normalise, self.encoder, self.pool, path = built.normalise, built.encoder, built.pool, built.path
        self._is_transformer = is_vision_transformer(encoder_name)
        self.head_norm = built.head_norm if num_classes else None
        self.encoder_arguments: dict[str, Any] = self.encoder.encoder_arguments  # type: ignore[assignment]
        self.decoder: nn.Module | None = None
        self.segmentation_head: nn.Module | None = None
        self.classification_head: nn.Module | None = None
        if decoder is not None:
            channels = max(in_channels, self.normalise.normalisation.channels)
            self._build_decoder(decoder, channels, mask_channels)
        if num_classes:
            layers = starting_head_layers(given.head_layers, path, self.pool)
            self.classification_head = LabelHead(self.pool, num_classes, dropout, built.head_norm, layers)
        #: Branches whose weights came with those of the encoder.
        self.loaded_branches = frozenset() if path is None else self._load_branches(path)
        #: Whether the label head was fitted to the encoder as it is, and so counts as the encoder's last layer.
        self.head_is_fitted = False
        self._layer_of = self._find_layers(in_channels)

    @property
    def positions(self) -> str | None:
        """``"learned"``, ``"sincos"``, or ``None`` of an encoder that is told places in another way."""
        return positions_of(self.encoder)

    @property
    def head_layers(self) -> HeadLayers | None:
        """The layers of a projection head before the label head, if any."""
        return getattr(self.classification_head, "projection", None)

    @property
    def _stride(self) -> int:
        return int(self.encoder.output_stride)  # type: ignore[arg-type]

    @property
    def branches(self) -> tuple[str, ...]:
        """``"label"``, ``"mask"`` or both: what the outputs are, in their order."""
        modules = {"label": self.classification_head, "mask": self.decoder}
        return tuple(name for name, module in modules.items() if module is not None)

    def __prepare_scriptable__(self) -> nn.Module:
        """Return what ``torch.jit.script`` compiles: the same weights without the checks of sizes."""
        return scripted_network(self)

    def _build_decoder(self, name: str, in_channels: int, mask_channels: int) -> None:
        import segmentation_models_pytorch as smp

        fitting = VIT_DECODERS if self._is_transformer else CNN_DECODERS
        if name not in CNN_DECODERS + VIT_DECODERS:
            raise ConfigurationError(
                f"There is no decoder named {name!r}; {self.encoder_name} takes {', '.join(fitting)} or None."
            )
        if name not in fitting:
            kind = "a vision transformer" if self._is_transformer else "a convolutional network"
            raise ConfigurationError(
                f"A {name} decoder cannot read {self.encoder_name}, which is {kind}; choose {', '.join(fitting)} or "
                "None."
            )
        options: dict[str, Any] = {**self.encoder_arguments}
        if self._is_transformer:
            if 32 % self._stride:
                raise ConfigurationError(
                    f"A DPT decoder needs a vision transformer with patches of 8, 16 or 32 px; {self.encoder_name} has "
                    f"{self._stride}. Choose another encoder, or no decoder."
                )
            options.setdefault("dynamic_img_size", True)
            options["decoder_readout"] = "cat" if self.encoder.has_prefix_tokens else "ignore"
        try:
            model = getattr(smp, name)(
                self.encoder_name, encoder_weights=None, in_channels=in_channels, classes=mask_channels, **options
            )
        except Exception as error:
            raise ConfigurationError(
                f"A {name} decoder cannot be built on {self.encoder_name}: {error} Choose another of "
                f"{', '.join(fitting)}, or another encoder."
            ) from error
        self.decoder, self.segmentation_head = model.decoder, model.segmentation_head
        if name == "DeepLabV3Plus":
            # Its encoder has other strides; the tensors and their names are the same.
            model.encoder.load_state_dict(self.encoder.state_dict())
            model.encoder.encoder_arguments = self.encoder_arguments
            self.encoder = model.encoder

    def _load_branches(self, path: str | os.PathLike) -> frozenset[str]:
        weights = read_weights(path)
        said: list[str] = []
        loaded = []
        for name in _BRANCH_MODULES:
            module = getattr(self, name)
            prefixes = sorted({key[: key.index(name + ".")] for key in weights if f".{name}." in f".{key}"}, key=len)
            if module is None or not prefixes:
                continue
            start = f"{prefixes[0]}{name}."
            found = {key.removeprefix(start): value for key, value in weights.items() if key.startswith(start)}
            wanted = module.state_dict()
            fits = {key: value.shape for key, value in found.items()} == {k: v.shape for k, v in wanted.items()}
            if name == "segmentation_head" and said and said[-1].startswith("decoder of another"):
                fits = False  # its input would come from another decoder
            if fits:
                module.load_state_dict(found)
                loaded.append(name)
            said.append(f"{name} {'loaded' if fits else 'of another shape, left at its random start'}")
        if said:
            logger.info("%s: %s.", path, "; ".join(said))
        return frozenset(loaded)

    def _find_layers(self, in_channels: int) -> dict[str, str]:
        """Name the layer of every weight, in order from the stem; turn off the gradient of weights without effect."""
        was_training = self.training
        self.eval()
        known = getattr(getattr(self.encoder, "model", None), "pretrained_cfg", None) or {}
        side = self.size_multiple * max(2, math.ceil(64 / self.size_multiple))
        if known.get("fixed_input_size") and not self._is_transformer:
            # Windowed transformers of timm take one size only.
            side = int(np.max(self.encoder_arguments.get("img_size", known["input_size"][-1])))
        with torch.enable_grad():
            features = self._features(torch.zeros(1, in_channels, side, side))
            layers = [_leaves([feature]) for feature in features[0]]
            used = _leaves(self._outputs(features).values())
        self.train(was_training)
        layer_of: dict[str, str] = {}
        for name, parameter in self.encoder.named_parameters():
            if id(parameter) not in used:
                parameter.requires_grad_(False)
                continue
            block = re.match(r"model\.blocks\.(\d+)\.", name) if self._is_transformer else None
            if block:
                layer_of[f"encoder.{name}"] = f"layer_{int(block[1]) + 1:03d}"
            elif self._is_transformer:
                layer_of[f"encoder.{name}"] = "layer_000"
            else:
                stage = next(number for number, layer in enumerate(layers) if id(parameter) in layer)
                # Stem and first stage share the first feature map of some timm models.
                first = bool(re.search(r"(^|\.)(conv_)?stem", name))
                layer_of[f"encoder.{name}"] = "layer_000" if first else f"layer_{stage:03d}"
        for name, parameter in self.named_parameters():
            if name.startswith("encoder."):
                continue
            if id(parameter) in used:
                layer_of[name] = "projection" if ".projection." in name else "heads"
            else:
                parameter.requires_grad_(False)
        return layer_of

    @property
    def size_multiple(self) -> int:
        """Pixels of which height and width must be multiples; 1 where the network takes any size."""
        if self.decoder_name is not None:
            # Of the coarsest map; smp's U-Net brings its maps to the size of each skip connection.
            return 1 if self.decoder_name == "Unet" else 32
        return self._stride if self._is_transformer else 1

    def check_size(self, height: int, width: int) -> None:
        """Raise ConfigurationError for an image of a size that the network cannot take."""
        part = f"a {self.decoder_name} decoder on {self.encoder_name}" if self.decoder_name else self.encoder_name
        refuse_size(part, self.size_multiple, height, width)

    def encoder_parameters(self) -> list[nn.Parameter]:
        """Return the encoder's weights that take part in training, whether frozen at the moment or not."""
        named = dict(self.named_parameters())
        return [named[name] for name in self._layer_of if name.startswith("encoder.")]

    def layer_groups(self) -> list[tuple[str, dict[str, nn.Parameter]]]:
        """Return the weights by layer, from the stem to the heads, for layer-wise learning-rate decay.

        These are pairs of a name and ``{parameter name: parameter}``. Convolutional encoders: the stem, then one group
        per stage (per feature map that the decoder may read). Vision transformers: patch embedding and tokens, then one
        group per block. Then layers of a projection head, if any. Last, the decoder and the heads, but for a label head
        that was fitted (``head_is_fitted``), which is in the group before. Weights frozen at the moment are in it;
        weights that no output depends on are not.
        """
        named = dict(self.named_parameters())
        groups: dict[str, dict[str, nn.Parameter]] = {"heads": {}}
        below = "projection" if self.head_layers is not None else max(set(self._layer_of.values()) - {"heads"})
        for name, layer in self._layer_of.items():
            fitted = self.head_is_fitted and layer == "heads" and name.startswith("classification_head.")
            groups.setdefault(below if fitted else layer, {})[name] = named[name]
        last = ["projection", "heads"] if "projection" in groups else ["heads"]
        ordered = [*sorted(groups.keys() - set(last)), *last]
        first, following = ("patch_embed", "block") if self._is_transformer else ("stem", "stage")
        shown = [first, *(f"{following}_{number}" for number in range(1, len(groups) - len(last))), *last]
        return [(name, groups[layer]) for name, layer in zip(shown, ordered, strict=True)]

    def _features(self, image: Tensor) -> tuple[list[Tensor], Any]:
        features = normalised_features(self, image)
        return features if self._is_transformer else (features, None)

    def _outputs(self, features: tuple[list[Tensor], Any]) -> dict[str, Tensor]:
        maps, prefix_tokens = features
        output = {}
        if self.classification_head is not None:
            output["label"] = label_logits(self, features if self._is_transformer else maps)
        if self.decoder is not None and self.segmentation_head is not None:
            decoded = self.decoder(maps, prefix_tokens) if self._is_transformer else self.decoder(maps)
            output["mask"] = self.segmentation_head(decoded)
        return output

    def forward(self, image: Tensor) -> dict[str, Tensor] | tuple[Tensor, ...] | Tensor:
        """Return the logits of the branches that are on, for images ``(B, in_channels, H, W)`` float in [0, 1].

        ``{"label": (B, num_classes), "mask": (B, mask_channels, H, W)}``, or tensors, see ``return_dict``.

        Raises:
            ConfigurationError: when the network cannot take the image's size.
        """
        if not (torch.jit.is_tracing() or torch.compiler.is_compiling()):
            self.check_size(int(image.shape[-2]), int(image.shape[-1]))
        output = self._outputs(self._features(image))
        if self.return_dict:
            return output
        return next(iter(output.values())) if len(output) == 1 else tuple(output.values())
