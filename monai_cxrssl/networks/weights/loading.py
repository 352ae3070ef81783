# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Pretrained encoder weights loaded with an account."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor, nn

from monai_cxrssl.errors import ConfigurationError
from monai_cxrssl.networks.weights.containers import read_weights
from monai_cxrssl.networks.weights.header import read_header
from monai_cxrssl.networks.weights.known import recognise
from monai_cxrssl.networks.weights.names import Match, find_match
from monai_cxrssl.networks.weights.shapes import fit, stem_weights
from monai_cxrssl.networks.weights.target import Target, is_computed

__all__ = ["LoadAccount", "load_encoder_weights", "stem_channels"]

logger = logging.getLogger(__name__)

#: Without these a network's first step, or its knowledge of places, is random, whatever share of the values loaded.
_ESSENTIAL = re.compile(
    r"(^|\.)(cls_token|reg_token|dist_token|\w*pos_embed\w*|relative_position_bias_table|rel_pos\w*|"
    r"patch_embed\d*\.(proj|norm)\.\w+)$"
)
#: Tokens that change every feature, and that an encoder without a place for them would lose.
_TOKENS = re.compile(r"(cls_token|reg_token|register_tokens|storage_tokens|dist_token|pos_embed)$")


@dataclass(frozen=True)
class LoadAccount:
    """What became of the tensors of a file and of an encoder.

    Attributes:
        loaded: the encoder's tensors that were filled.
        missing: those that the file lacks or has in a shape that does not fit, which keep their values.
        reshaped: filled tensors that were fitted, and what was done to them.
        unused: tensors of the file that the encoder has no place for.
        sentence: the account for the log.
    """

    loaded: tuple[str, ...]
    missing: tuple[str, ...]
    reshaped: Mapping[str, str]
    unused: tuple[str, ...]
    sentence: str


def load_encoder_weights(
    encoder: nn.Module,
    source: str | os.PathLike | Mapping[str, Tensor],
    max_missing: float = 0.05,
    name: str | None = None,
) -> LoadAccount:
    """Fill an smp encoder from a file of any public form, and log how much of it was found.

    The names may be those of the encoder, of timm, torchvision, Hugging Face, CLIP or MMPretrain, with any prefix;
    ``docs/weights.md`` lists what is tested. A stem of three channels is summed over them where the encoder takes one;
    position embeddings and patches of another size are resampled as timm does it.

    Args:
        encoder: filled in place.
        source: a file, see :func:`~.containers.read_weights`, or what that function returned.
        max_missing: share of the encoder's values, from 0 to 1, that may keep their values; never a stem, a patch
            embedding, a token or a position embedding.
        name: of the weights, for messages, where they are no file.

    Raises:
        ConfigurationError: the file is of another network; the encoder is then unchanged.
    """
    weights = source if isinstance(source, Mapping) else read_weights(source)
    shown = name or ("The weights" if isinstance(source, Mapping) else os.fspath(source))
    target = Target(encoder)
    match = find_match(weights, target)
    stems = stem_weights(encoder)
    values, reshaped = _fitted(match, target, stems)
    wanted = [each for each in target.wanted if target.takes_part(each)]
    missing = [each for each in wanted if each not in values]
    account = _account(shown, target, match, values, reshaped, wanted, missing)
    _refuse_partial(account, match, target, stems, max_missing, shown, _said_name(source))
    # Several encoders of smp override load_state_dict for published names, and do not know strict.
    nn.Module.load_state_dict(encoder, values, strict=False)
    logger.info("%s", account.sentence)
    return account


def stem_channels(weights: Mapping[str, Tensor], encoder: nn.Module) -> int | None:
    """Return how many channels the images have that a file's stem takes, ``None`` where the file has no stem.

    Args:
        weights: of :func:`~.containers.read_weights`.
        encoder: of the file's architecture, for images of one channel; it may be on the meta device.
    """
    target = Target(encoder)
    values = find_match(weights, target).values
    for name in stem_weights(encoder):
        if name in values and values[name].ndim == 4:
            # A stem that folds pixels into channels reads several of them for each of the image's.
            return values[name].shape[1] // target.wanted[name].shape[1]
    return None


def _fitted(match: Match, target: Target, stems: dict[str, int]) -> tuple[dict[str, Tensor], dict[str, str]]:
    values: dict[str, Tensor] = {}
    reshaped = dict(match.resampled)
    for name, value in match.values.items():
        fitted, said = fit(name, value, target.encoder, stems)
        if fitted is not None:
            values[name] = fitted
        if said is not None:
            reshaped[name] = f"{reshaped[name]}, {said}" if name in reshaped else said
    return values, reshaped


def _account(
    shown: str,
    target: Target,
    match: Match,
    values: dict[str, Tensor],
    reshaped: dict[str, str],
    wanted: list[str],
    missing: list[str],
) -> LoadAccount:
    loaded = [each for each in wanted if each in values]
    size = sum(target.wanted[each].numel() for each in wanted)
    share = sum(target.wanted[each].numel() for each in loaded) / max(size, 1)
    unused = [*match.outside, *(match.prefix + each for each in match.rest)]
    form = f" as {match.title}" if match.title else ""
    prefix = f" behind {match.prefix!r}" if match.prefix else ""
    fitted = f", {len(reshaped)} fitted ({_listed([f'{k}: {v}' for k, v in reshaped.items()])})" if reshaped else ""
    lacking = f" ({_listed(missing)})" if missing else ""
    sentence = (
        f"{shown}: read{form}{prefix}, {len(loaded)} of {len(wanted)} encoder tensors loaded ({share:.1%} of the "
        f"values){fitted}, {len(missing)} missing{lacking}, {len(unused)} of the file not used."
    )
    return LoadAccount(tuple(loaded), tuple(missing), reshaped, tuple(unused), sentence)


def _refuse_partial(
    account: LoadAccount,
    match: Match,
    target: Target,
    stems: dict[str, int],
    max_missing: float,
    shown: str,
    named: str | None,
) -> None:
    size = {name: value.numel() for name, value in target.wanted.items()}
    share = sum(size[name] for name in account.missing) / max(
        sum(size[n] for n in (*account.loaded, *account.missing)), 1
    )
    other = "is it the file of another --encoder_name?" + (f" It is the file of {named}." if named else "")
    if share > max_missing:
        raise ConfigurationError(f"{account.sentence} At most {max_missing:.0%} may be missing; {other}")
    lost = sorted((each for each in match.rest if _is_lost(each, target)), key=lambda each: _TOKENS.match(each) is None)
    if lost:
        raise ConfigurationError(
            f"{shown} holds {len(lost)} tensors inside the encoder for which the encoder built has no place (such as "
            f"{lost[0]}), so its features would not be those of the file; {other}"
        )
    for name in account.missing:
        if name in stems or _ESSENTIAL.search(name):
            raise ConfigurationError(_essential(name, match, target, stems, shown, other))
    kinds: dict[str, list[bool]] = {}
    for name in (*account.loaded, *account.missing):
        kinds.setdefault(re.sub(r"\d+", "#", name), []).append(name in match.values)
    absent = [kind for kind, found in kinds.items() if len(found) > 1 and not any(found)]
    if absent:
        raise ConfigurationError(
            f"{shown} has none of the {len(kinds[absent[0]])} tensors {absent[0]} of the encoder built, so its "
            f"features would not be those of the file; {other}"
        )


def _essential(name: str, match: Match, target: Target, stems: dict[str, int], shown: str, other: str) -> str:
    wanted = target.wanted[name]
    if name not in match.values:
        return f"{shown} has no {name}, without which the encoder would start from a random first step; {other}"
    value = match.values[name]
    shapes = [" x ".join(map(str, tensor.shape)) for tensor in (value, wanted)]
    if name in stems and value.ndim == wanted.ndim and value.shape[2:] == wanted.shape[2:]:
        channels = stems[name] * value.shape[1] // wanted.shape[1]
        return (
            f"{shown} has a stem {name} for images of {channels} channel{'s' * (channels != 1)} and the encoder built "
            f"takes {stems[name]}; build it with in_channels={channels}, with an --input_normalisation of as many "
            "values."
        )
    remedy = "give the file's own img_size and patch_size in --encoder_arguments, or " if "embed" in name else ""
    return (
        f"{shown} has {name} of {shapes[0]} where the encoder built has {shapes[1]}, and it cannot be fitted; "
        f"{remedy}{other}"
    )


def _is_lost(name: str, target: Target) -> bool:
    """Whether a tensor that was not used belongs to the part of the network that the encoder is."""
    if is_computed(name) or name in target.plain_names:
        return False
    inside = {plain.split(".")[0] for each, plain in target.names.items() if target.takes_part(each)}
    return name.split(".")[0] in inside or _TOKENS.match(name) is not None


def _listed(names: list[str], most: int = 3) -> str:
    return ", ".join(names[:most]) + (" ..." if len(names) > most else "")


def _said_name(source: str | os.PathLike | Mapping[str, Tensor]) -> str | None:
    if isinstance(source, Mapping):
        return None
    described = read_header(Path(source))[1]
    if described is not None:
        return described.get("encoder_name")
    known = recognise(source)
    return None if known is None or known.encoder_name is None else f"{known.encoder_name} ({known.name})"
