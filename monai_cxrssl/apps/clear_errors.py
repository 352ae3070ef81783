# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Excepthook that prints one sentence instead of a traceback."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from types import TracebackType

from monai_cxrssl.errors import CXRSSLError, MissingTierError, OptionError
from monai_cxrssl.tiers import TIERS, missing_tier

__all__ = ["clear_sentence", "install_clear_errors"]

logger = logging.getLogger(__name__)


def clear_sentence(error: BaseException | None) -> str | None:
    """Return the message of the package's own error, or of a missing tier, behind an exception; ``None`` without."""
    for cause in _causes(error):
        if isinstance(cause, CXRSSLError):
            return str(cause)
        if (sentence := _of_mlflow(cause)) is not None:
            return sentence
    while error is not None:
        if (absent := missing_tier(error)) is not None:
            return str(absent)
        # Not the context, in which libraries try optional imports.
        error = error.__cause__
    return None


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """MONAI's config parser wraps what a component raises; the error sought is then a cause further down."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        yield error
        seen.add(id(error))
        error = error.__cause__ or error.__context__


def _of_mlflow(error: BaseException) -> str | None:
    """Return what hinders MONAI's ``MLFlowHandler``, which ``--tracking mlflow`` puts into a run by itself."""
    words = str(error)
    # By name: commands that need no MONAI start without it.
    if type(error).__name__ == "OptionalImportError" and "mlflow" in words:
        return str(MissingTierError("mlflow", TIERS["mlflow"]))
    if isinstance(error, ValueError) and words.startswith("MLflow no longer supports the filesystem"):
        return words
    return None


def install_clear_errors() -> None:
    """From now on, end this process on a ``CXRSSLError`` with one sentence on the error stream and exit status 1, or 2
    where an option is wrong.

    The whole traceback still goes to the run's log file, if there is one. Other exceptions, which are defects, keep
    their traceback.
    """
    previous = sys.excepthook
    if getattr(previous, "shows_clear_sentences", False):
        return

    def hook(kind: type[BaseException], error: BaseException, traceback: TracebackType | None) -> None:
        sentence = clear_sentence(error)
        if sentence is None:
            previous(kind, error, traceback)
            return
        record = logger.makeRecord(
            logger.name, logging.ERROR, __file__, 0, "%s", (sentence,), (kind, error, traceback), "hook"
        )
        for handler in logging.getLogger().handlers:
            if isinstance(handler, logging.FileHandler):
                handler.handle(record)
        sys.stdout.flush()
        print(f"error: {sentence}", file=sys.stderr)
        if any(isinstance(cause, OptionError) for cause in _causes(error)):
            # The interpreter takes the status from here.
            sys.exit(2)

    hook.shows_clear_sentences = True  # type: ignore[attr-defined]
    sys.excepthook = hook
