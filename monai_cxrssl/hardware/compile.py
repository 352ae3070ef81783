# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""``torch.compile`` for the network of a training run, its warm-up told."""

from __future__ import annotations

import logging
import os
import shutil
import sys
import time
from typing import Any

import torch
from ignite.engine import Engine, Events
from torch import nn

from monai_cxrssl.errors import ConfigurationError
from monai_cxrssl.networks.momentum import EMACopy
from monai_cxrssl.networks.multi_task import MultiTaskNet

__all__ = ["FirstStepTime", "compile_network"]

logger = logging.getLogger(__name__)


def compile_network(method: nn.Module, device: torch.device | str, backend: bool | str = True) -> None:
    """Compile the network of a method in place; nothing is compiled before its first call.

    Of a pretext method the encoder is compiled, and that of a moving average which takes part in the training; of
    fine-tuning the whole network. They take most of the time; what surrounds them draws random numbers and keeps
    counts, which a compiler would have to leave alone. Names of parameters stay as they are, so that checkpoints of
    compiled and other runs are the same.

    Args:
        method: a pretext or fine-tuning method, without a data-parallel wrapper, with its ``network``.
        device, backend: where it will run; ``True`` for torch's ``inductor``, or the name of another backend.

    Raises:
        ConfigurationError: the method calls the blocks of its encoder one by one, the backend is unknown, or a CPU is
            to be compiled for and the machine has no C++ compiler.
    """
    name = "inductor" if backend is True or str(backend).lower() == "true" else str(backend)
    known = torch.compiler.list_backends(exclude_tags=())
    if name not in known:
        raise ConfigurationError(f"--compile must be true, false or a backend of torch.compile, got {backend!r}.")
    compilers = [os.environ.get("CXX", ""), "c++", "g++", "clang++"]
    if (
        name == "inductor"
        and torch.device(device).type == "cpu"
        and sys.platform != "win32"
        and not any(compiler and shutil.which(compiler.split()[0]) for compiler in compilers)
    ):
        raise ConfigurationError(
            "--compile needs a C++ compiler on a CPU and none was found as c++, g++, clang++ or by the variable CXX; "
            "install one, or leave --compile out."
        )
    if hasattr(method, "tokens"):
        raise ConfigurationError(
            f"{type(method).__name__} calls the blocks of its network one by one, which --compile cannot speed up yet; "
            "leave it out."
        )
    networks: list[Any] = [method.network]
    networks += [part.network for part in method.modules() if isinstance(part, EMACopy) and not part.keep_eval]
    for network in networks:
        owner = next(part for part in network.modules() if isinstance(getattr(part, "encoder", None), nn.Module))
        (owner if isinstance(owner, MultiTaskNet) else owner.encoder).compile(backend=name)


class FirstStepTime:
    """Log the time of a run's first step, which holds the compilation."""

    def __init__(self) -> None:
        self._started: float | None = None
        self._told = False

    def attach(self, engine: Engine) -> None:
        """Follow an engine."""
        engine.add_event_handler(Events.ITERATION_STARTED, self._start)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._finish)

    def _start(self, engine: Any) -> None:
        if not self._told:
            self._started = time.perf_counter()

    def _finish(self, engine: Any) -> None:
        if not self._told and self._started is not None:
            self._told = True
            seconds = time.perf_counter() - self._started
            logger.info("torch.compile: the first step took %.1f s, the compilation included.", seconds)
