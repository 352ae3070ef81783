# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Rows of a grid: bundle, encoder, initialisation, and how they are measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from monai_cxrssl.errors import ConfigurationError
from monai_cxrssl.label_efficiency.inits import RANDOM, Init
from monai_cxrssl.networks.encoder_factory import check_name, is_vision_transformer
from monai_cxrssl.networks.multi_task import VIT_DECODERS
from monai_cxrssl.runs.fine_tuning_options import FineTuningOptions
from monai_cxrssl.runs.options import load_recipes
from monai_cxrssl.runs.words_as_written import words_without

__all__ = ["HOWS", "PIXELS", "Row", "grid_rows", "run_options"]

#: What is done with an encoder: the whole network learns, or a logistic regression on the frozen encoder's embeddings.
HOWS = ("finetune", "probe")
PIXELS = "pixels"
#: Option of the projection head that only files of our own pretraining carry.
_OF_HEAD = ("head_layers",)
_WORDS = {"finetune": "fine-tuned", "probe": "probe"}


@dataclass(frozen=True)
class Row:
    """One line of the table."""

    name: str
    how: str  #: ``"finetune"``, ``"probe"`` or ``"pixels"``.
    bundle: str
    config: Path  #: ``train.json`` of the bundle.
    given: Mapping[str, Any]  #: options of the bundle as typed after ``--``, and those of the row.
    words: tuple[str, ...]  #: the same as words of a command, without those of the initialisation.
    encoder: str | None = None  #: as given; ``None`` for the recipe's.
    init: Init = RANDOM

    @property
    def folder(self) -> str:
        """Where its cells go, below ``cells``; the same whatever other rows there are."""
        if self.how == PIXELS:
            return PIXELS
        return "/".join((self.how, self.bundle, self.encoder or "recipe", self.init.name))

    def options(self, draw: int = 0, **others: Any) -> FineTuningOptions:
        """Resolve the options of the run of a draw.

        Raises:
            OptionError: an option's value cannot be, or the bundle has no recipes.
        """
        return run_options(self.config, {**self.given, **self.init.options(draw), **others})


def run_options(config: Path, given: Mapping[str, Any]) -> FineTuningOptions:
    """Resolve fine-tuning options for a bundle's config, as a run of it does."""
    root = config.resolve().parent
    root = root.parent if root.name == "configs" else root
    return FineTuningOptions.resolved({"output_dir": "", "model_path": "", **given},
                                      load_recipes(root / "configs" / "recipes.json"))  # fmt: skip


def grid_rows(
    bundles: Mapping[str, Path],
    encoders: Sequence[str],
    inits: Sequence[Init],
    hows: Sequence[str],
    given: Mapping[str, Any],
    words: Sequence[str],
    pixels: bool = True,
) -> list[Row]:
    """Lay out the rows, pixels first; a probe, which trains no bundle, is one row for all bundles.

    Weights whose encoder is known stand with that encoder only.

    Args:
        bundles: ``train.json`` by name.
        encoders: names; none for those of the recipes.
        given: options of every run, and ``words``, the same as typed; one that only some of several bundles have, such
            as ``mask``, goes to those.
        pixels: whether a row of grey values is there.

    Raises:
        ConfigurationError: weights of an encoder that the grid does not have, or an unknown encoder.
    """
    for encoder in encoders:
        check_name(encoder)
    if encoders and "encoder_name" in given:
        raise ConfigurationError("--encoder_name is given before and after --; give it once, before.")
    choices: list[str | None] = list(encoders) or [None]
    said = [given["encoder_name"]] if "encoder_name" in given else list(encoders)
    for init in inits:
        if said and init.encoder is not None and init.encoder not in said:
            raise ConfigurationError(
                f"--init {init.name} is of the encoder {init.encoder}, and the grid is of {', '.join(said)}; add it to "
                "--encoder_name."
            )
    rows: list[Row] = []
    of_bundle = {name: _options_of(name, bundles, given, words) for name in bundles}
    for choice in choices:
        for init in inits:
            if choice is not None and init.encoder not in (None, choice):
                continue
            for how in hows:
                for bundle, config in bundles.items() if how == "finetune" else [next(iter(bundles.items()))]:
                    parts = [bundle] if how == "finetune" and len(bundles) > 1 else []
                    parts += [choice] if choice is not None and len(choices) > 1 else []
                    parts += [init.name] + [_WORDS[how]] * (len(hows) > 1)
                    options, said_words = _without_head(init, *of_bundle[bundle])
                    own = _own_options(config, choice, options)
                    typed = (*(word for name, value in own.items() for word in (f"--{name}", value)), *said_words)
                    name = ", ".join(parts)
                    rows.append(Row(name, how, bundle, config, {**own, **options}, typed, choice, init))
    if pixels:
        first = rows[0]
        options, said_words = _without_head(RANDOM, *of_bundle[first.bundle])
        rows.insert(0, replace(first, name=PIXELS, how=PIXELS, given=options, words=tuple(said_words), encoder=None,
                               init=RANDOM))  # fmt: skip
    return rows


def _options_of(
    bundle: str, bundles: Mapping[str, Path], given: Mapping[str, Any], words: Sequence[str]
) -> tuple[Mapping[str, Any], Sequence[str]]:
    """Options and words without those that other bundles of the grid have and this one has not."""
    if len(bundles) == 1:
        return given, words
    names = {name: run_options(config, {}).names for name, config in bundles.items()}
    foreign = frozenset[str]().union(*names.values()) - names[bundle]
    return {name: value for name, value in given.items() if name not in foreign}, words_without(words, foreign)


def _without_head(
    init: Init, given: Mapping[str, Any], words: Sequence[str]
) -> tuple[Mapping[str, Any], Sequence[str]]:
    """Options and words without ``head_layers`` where weights carry no projection head: random and published ones."""
    if init.files:
        return given, words
    return {name: value for name, value in given.items() if name not in _OF_HEAD}, words_without(words, _OF_HEAD)


def _own_options(config: Path, encoder: str | None, given: Mapping[str, Any]) -> dict[str, str]:
    """Options of a row: its encoder, and a decoder that can read it where the recipe's cannot."""
    if encoder is None:
        return {}
    own = {"encoder_name": encoder}
    if is_vision_transformer(encoder) and "decoder" not in given:
        decoder = run_options(config, {**given, **own}).decoder
        if decoder is not None and decoder not in VIT_DECODERS:
            own["decoder"] = VIT_DECODERS[0]
    return own
