# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""One progress bar over a whole run."""

from __future__ import annotations

from typing import Any

import ignite.distributed as idist
from ignite.engine import Engine, Events
from tqdm.auto import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

__all__ = ["RunProgressBar"]


class RunProgressBar:
    """Show iterations done of all epochs, the epoch and the loss, on the first process only.

    The loss, each look at which waits for the device, is updated every ``interval`` iterations.
    """

    def __init__(self, interval: int = 10) -> None:
        self.interval = max(1, int(interval))
        self._bar: tqdm | None = None
        self._redirect: Any = None

    def attach(self, engine: Engine) -> None:
        """Follow an engine whose ``output[0]`` holds ``loss``."""
        engine.add_event_handler(Events.STARTED, self._open)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._advance)
        engine.add_event_handler(Events.COMPLETED | Events.EXCEPTION_RAISED, self._close)

    def _open(self, engine: Any) -> None:
        if idist.get_rank() != 0:
            return
        epochs = (engine.state.max_epochs or 0) * (engine.state.epoch_length or 0)
        total = getattr(engine, "total_iterations", epochs)
        self._redirect = logging_redirect_tqdm()  # log lines go above the bar; good for one run only
        self._redirect.__enter__()
        self._bar = tqdm(total=total, initial=engine.state.iteration, desc="training", unit="it", dynamic_ncols=True)

    def _advance(self, engine: Any) -> None:
        if self._bar is None:
            return
        state = engine.state
        if state.iteration % self.interval == 0 or state.iteration % (state.epoch_length or 1) == 0:
            loss = float(state.output[0]["loss"])
            self._bar.set_postfix_str(f"epoch {state.epoch}/{state.max_epochs}, loss {loss:.3f}", refresh=False)
        self._bar.update()

    def _close(self, engine: Any, error: BaseException | None = None) -> None:
        if self._bar is not None:
            self._bar.close()
            self._bar = None
            self._redirect.__exit__(None, None, None)
        if error is not None:
            raise error
