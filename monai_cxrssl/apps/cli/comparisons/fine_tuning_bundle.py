# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Fine-tuning bundle with the options of the command line, for many runs."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from monai_cxrssl.runs.fine_tuning_options import FineTuningOptions

__all__ = ["OF_DATA", "FineTuningBundle"]

#: What the runs need not be told, for they get the divided data set.
OF_DATA = (
    "dataset_dir", "datalist", "phantom_patients", "phantom_size", "split_seed", "test_dataset_dir", "test_datalist",
    "class_map",
)  # fmt: skip


@dataclass(frozen=True)
class FineTuningBundle:
    """A bundle's training config and what the command line says of its options, checked by :meth:`open`."""

    config_file: Path
    given: Mapping[str, Any]  #: options as typed.
    words: Sequence[str]  #: the same as words.

    @classmethod
    def open(cls, bundle: str, words: Sequence[str], own: Collection[str], why: str) -> FineTuningBundle:
        """Find a bundle, and check the options of all its runs.

        Args:
            bundle: its name or folder, or its ``train.json``.
            words: ``--OPTION VALUE ...``.
            own: options that the command sets itself.
            why: the command takes a fine-tuning only, for the message.

        Raises:
            ConfigurationError: there is no such bundle, it is no fine-tuning, or an option cannot be given.
        """
        from monai_cxrssl.apps.cli.bundles.config_run import read_overrides
        from monai_cxrssl.errors import ConfigurationError
        from monai_cxrssl.runs.fine_tuning_options import FineTuningOptions
        from monai_cxrssl.runs.unknown_options import check_options
        from monai_cxrssl.runs.words_as_written import command_words, words_as_written

        config_file = _config_file(bundle, why)
        with command_words(words):
            given = words_as_written(read_overrides(words), FineTuningOptions.literal)
            check_options(config_file, given)
        for name in own:
            if name in given:
                raise ConfigurationError(f"--{name} is set by this command for every run; leave it out.")
        return cls(config_file, given, words)

    @property
    def name(self) -> str:
        """Of the bundle's folder."""
        folder = self.config_file.absolute().parent
        return (folder.parent if folder.name == "configs" else folder).name

    def options(self, out: Path, others: Mapping[str, Any] | None = None) -> FineTuningOptions:
        """Resolve the options of a run, as its config would.

        Args:
            out: folder of the results.
            others: further options, which win.
        """
        from monai_cxrssl.apps.cli.bundles.option_help import read_config
        from monai_cxrssl.runs.fine_tuning_options import FineTuningOptions
        from monai_cxrssl.runs.options import load_recipes

        config = read_config(self.config_file)
        recipes = self.config_file.parent / "recipes.json"
        if not recipes.is_file():
            recipes = self.config_file.parent / "configs" / "recipes.json"
        texts = ("$", "@")
        own = {n: config.get(n) for n in FineTuningOptions.model_fields if not str(config.get(n)).startswith(texts)}
        places = {"output_dir": str(out), "model_path": str(out / "model.pt")}
        return FineTuningOptions.resolved({**own, **self.given, **(others or {}), **places}, load_recipes(recipes))


def _config_file(bundle: str, why: str) -> Path:
    from monai_cxrssl.apps.cli.bundles.command import find_config
    from monai_cxrssl.apps.cli.bundles.option_help import options_class, read_config
    from monai_cxrssl.errors import ConfigurationError
    from monai_cxrssl.runs.fine_tuning_options import FineTuningOptions

    path = Path(bundle) if bundle.endswith(".json") else find_config(bundle, "train")
    if not path.is_file():
        raise ConfigurationError(f"{path} does not exist; give the name of a bundle, or its train.json.")
    kind = options_class(read_config(path))
    if kind is None or not issubclass(kind, FineTuningOptions):
        raise ConfigurationError(f"{path} is no fine-tuning: {why}")
    return path
