# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Excepthook that prints one sentence instead of a traceback."""

from __future__ import annotations

import logging
import sys
from types import TracebackType

from monai_cxrssl.errors import CXRSSLError, OptionError

__all__ = ["clear_sentence", "install_clear_errors"]

logger = logging.getLogger(__name__)


def clear_sentence(error: BaseException | None) -> str | None:
    """Return the message of the package's own error behind an exception, or ``None`` if none is behind it."""
    own = _own_error(error)
    return None if own is None else str(own)


def _own_error(error: BaseException | None) -> CXRSSLError | None:
    """MONAI's config parser wraps what a component raises; the error sought is then a cause further down."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        if isinstance(error, CXRSSLError):
            return error
        seen.add(id(error))
        error = error.__cause__ or error.__context__
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
        if isinstance(_own_error(error), OptionError):
            # The interpreter takes the status from here.
            sys.exit(2)

    hook.shows_clear_sentences = True  # type: ignore[attr-defined]
    sys.excepthook = hook
