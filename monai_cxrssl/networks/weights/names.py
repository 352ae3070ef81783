# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Search for an encoder's tensors among the names of a file."""

from __future__ import annotations

import contextlib
import inspect
import io
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from torch import Tensor, nn

from monai_cxrssl.networks.weights.foreign import FORMS, prefixes, rename
from monai_cxrssl.networks.weights.target import Target, is_computed

__all__ = ["Match", "find_match"]

#: Of two networks in a file that fit alike the one is taken that the methods' authors evaluate.
_BETTER = re.compile(r"(^|[._])(teacher|target_encoder|ema)([._]|$)")
_WORSE = re.compile(r"(^|[._])(student|momentum|encoder_k|key|target|online_head)([._]|$)|_ema([._]|$)")


@dataclass
class Match:
    """Tensors of a file under the names of an encoder.

    Attributes:
        values: the tensors, as the file has them, by the encoder's names.
        prefix: what stood before their names in the file.
        rest: names in the file, without the prefix, that the encoder has no place for.
        outside: names in the file that do not begin with the prefix.
        title: the form of the file, for the log.
        resampled: what timm's conversion did to tensors, by the encoder's names.
    """

    values: dict[str, Tensor]
    prefix: str = ""
    rest: list[str] = field(default_factory=list)
    outside: list[str] = field(default_factory=list)
    title: str = ""
    resampled: dict[str, str] = field(default_factory=dict)


def find_match(weights: Mapping[str, Tensor], target: Target) -> Match:
    """Return the best reading of a file as the weights of an encoder; its values may be none at all."""
    best, best_rank = Match({}, outside=list(weights)), (0, 0, 0)
    for match in _readings(weights, target):
        counted = [name for name, value in match.values.items() if target.takes_part(name)]
        alike = sum(match.values[name].numel() == target.wanted[name].numel() for name in counted)
        rank = (len(counted) + alike, _preference(match.prefix), -len(match.prefix))
        if rank > best_rank:
            best, best_rank = match, rank
    if best_rank[0] < len(target.wanted) // 2:
        return _in_order(weights, target) or best
    return best


def _preference(prefix: str) -> int:
    return bool(_BETTER.search(prefix)) - bool(_WORSE.search(prefix))


def _readings(weights: Mapping[str, Tensor], target: Target) -> Iterator[Match]:
    """Yield every way to read the file."""
    own = {name: name for name in target.wanted}
    yield from _by_prefix(weights, own, "")
    if target.plain is not target.encoder:
        yield from _by_prefix(weights, target.names, "timm's names" if target.convert is None else "")
    shared = next(iter(target.names.values())).split(".")[0] + "."
    if all(name.startswith(shared) for name in target.names.values()):
        yield from _by_prefix(weights, {name: plain[len(shared) :] for name, plain in target.names.items()}, "")
    yield from _numbered(weights, target)
    for prefix in _common_prefixes(weights, len(target.wanted)):
        yield from _converted(weights, prefix, target, "")
    for form in FORMS:
        for prefix in prefixes(weights, form):
            renamed = rename(weights, form, prefix)
            for match in (_taken(renamed, target.names), *_converted(renamed, "", target, "")):
                match.prefix, match.title = prefix, form.title
                match.outside = [name for name in weights if not name.startswith(prefix)]
                yield match


def _taken(named: Mapping[str, Tensor], names: Mapping[str, str], prefix: str = "", title: str = "") -> Match:
    """Read a file whose names are those of ``names`` behind a prefix."""
    values = {name: named[prefix + plain] for name, plain in names.items() if prefix + plain in named}
    used = {prefix + names[name] for name in values}
    rest = [name.removeprefix(prefix) for name in named if name.startswith(prefix) and name not in used]
    return Match(values, prefix, rest, [name for name in named if not name.startswith(prefix)], title)


def _by_prefix(weights: Mapping[str, Tensor], names: Mapping[str, str], title: str) -> Iterator[Match]:
    plain = set(names.values())
    found: Counter[str] = Counter()
    for name in weights:
        parts = name.split(".")
        for place in range(len(parts)):
            if ".".join(parts[place:]) in plain:
                found[".".join(parts[:place]) + "." if place else ""] += 1
    most = max(found.values(), default=0)
    for prefix, count in found.items():
        if 2 * count >= most:
            yield _taken(weights, names, prefix, title)


def _common_prefixes(weights: Mapping[str, Tensor], tensors: int) -> list[str]:
    found: Counter[str] = Counter([""] * len(weights))
    for name in weights:
        parts = name.split(".")
        found.update(".".join(parts[:place]) + "." for place in range(1, min(len(parts), 6)))
    return [prefix for prefix, count in found.items() if 3 * count >= tensors]


def _converted(weights: Mapping[str, Tensor], prefix: str, target: Target, title: str) -> Iterator[Match]:
    """Read a file through timm's own conversion."""
    if target.convert is None:
        return
    named = {name.removeprefix(prefix): value for name, value in weights.items() if name.startswith(prefix)}
    arguments = (named.copy(), target.plain)[: len(inspect.signature(target.convert).parameters)]
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            converted = target.convert(*arguments)
    except Exception:
        return  # it is no file of this architecture
    match = _taken({name: value for name, value in converted.items() if isinstance(value, Tensor)}, target.names)
    for name in match.values:
        plain = target.names[name]
        if (
            plain in named
            and named[plain].shape != match.values[name].shape
            and not _same_storage(named[plain], match.values[name])
        ):
            shapes = [" x ".join(map(str, value.shape)) for value in (named[plain], match.values[name])]
            match.resampled[name] = f"{shapes[0]} resampled to {shapes[1]}"
    match.prefix, match.title = prefix, title
    match.outside = [name for name in weights if not name.startswith(prefix)]
    yield match


def _same_storage(one: Tensor, other: Tensor) -> bool:
    return one.untyped_storage().data_ptr() == other.untyped_storage().data_ptr()


def _numbered(weights: Mapping[str, Tensor], target: Target) -> Iterator[Match]:
    """Read the state dict of ``nn.Sequential(*network.children())``, whose parts are numbered."""
    starts = {match[1] for name in weights if (match := re.match(r"((?:[^.]+\.)*?)\d+\.", name))}
    children: list[tuple[str, nn.Module]] = [("", target.plain)]
    only = list(target.plain.named_children())
    if len(only) == 1 or len({name.split(".")[0] for name in target.names.values()}) == 1:
        children.extend((f"{name}.", child) for name, child in only[:1])
    for start in starts:
        for before, network in children:
            parts = [name for name, _ in network.named_children()]
            named = {}
            for name, value in weights.items():
                number, _, rest = name.removeprefix(start).partition(".")
                if name.startswith(start) and number.isdigit() and int(number) < len(parts):
                    named[f"{before}{parts[int(number)]}.{rest}"] = value
            match = _taken(named, target.names, title="numbered parts")
            match.prefix, match.outside = start, [name for name in weights if not name.startswith(start)]
            yield match


def _in_order(weights: Mapping[str, Tensor], target: Target) -> Match | None:
    """Read a convolutional network of the same tensors in the same order, whatever their names are."""
    if target.is_token_transformer:
        return None
    wanted = [name for name in target.wanted if not is_computed(name)]
    for prefix in sorted(_common_prefixes(weights, len(wanted)), key=len, reverse=True):
        held = [name for name in weights if name.startswith(prefix) and not is_computed(name)]
        if len(held) < len(wanted):
            continue
        if all(_kind(one, weights[one]) == _kind(other, target.wanted[other])
               for one, other in zip(held, wanted, strict=False)):  # fmt: skip
            values = {name: weights[one] for one, name in zip(held, wanted, strict=False)}
            outside = [name for name in weights if not name.startswith(prefix)]
            return Match(values, prefix, [], [*outside, *held[len(wanted) :]], "other names in the same order")
    return None


def _kind(name: str, value: Tensor) -> tuple[object, ...]:
    """Return what two tensors of the same place must have in common; the stem may have other channels."""
    shape = (value.shape[0], *value.shape[2:]) if value.ndim == 4 and value.shape[1] in (1, 3) else tuple(value.shape)
    return name.rpartition(".")[2], *shape
