# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""The trainer of every pretext method."""

from __future__ import annotations

import contextlib
import logging
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

import torch
from ignite.engine import Engine, Events
from monai.engines import Trainer
from monai.engines.utils import IterationEvents
from monai.inferers import Inferer, SimpleInferer
from torch import Tensor, nn
from torch.utils.data import DataLoader

from monai_cxrssl.engines.gradient_cache import GradientCache, check_chunk
from monai_cxrssl.errors import ConfigurationError
from monai_cxrssl.hardware.compile import FirstStepTime, compile_network
from monai_cxrssl.hardware.precision import autocast_dtype

__all__ = ["BatchPreparer", "MethodTrainer", "prepare_views"]

logger = logging.getLogger(__name__)


class BatchPreparer(Protocol):
    """What an engine makes of a batch before the network sees it: :func:`prepare_views`, or a ``DeviceViews``."""

    def __call__(
        self,
        batchdata: Mapping[str, Any],
        device: torch.device | str | None = None,
        non_blocking: bool = False,
        **kwargs: Any,
    ) -> dict[str, Any]:
        """Give the batch on the device; ``kwargs`` are further arguments of ``Tensor.to``."""
        ...


def prepare_views(
    batchdata: Mapping[str, Any], device: torch.device | str | None = None, non_blocking: bool = False, **kwargs: Any
) -> dict[str, Any]:
    """Move a batch of views to the device and make it float in [0, 1].

    Args:
        batchdata: tensors by name; ``image`` is ``(B, V, 1, H, W)``, uint8, or float in [0, 1], and so is
            ``local_image``, if any.
        non_blocking: copy asynchronously from pinned memory.
        kwargs: further arguments of ``Tensor.to``.

    Raises:
        ConfigurationError: a batch of images whose views are still to be made.
    """
    if "view" in batchdata:
        raise ConfigurationError(
            "The batch holds images whose views the device should make (augment_on), but the trainer is not told how; "
            "give it prepare_batch=DeviceViews(transform)."
        )
    batch = {
        name: value.to(device=device, non_blocking=non_blocking, **kwargs) if isinstance(value, Tensor) else value
        for name, value in batchdata.items()
    }
    # Eight-bit views cross the bus at a quarter of the size; they become float only on the device.
    for name in {"image", "local_image"} & batch.keys():
        if batch[name].dtype is torch.uint8:
            batch[name] = batch[name].float().div_(255)
    return batch


class MethodTrainer(Trainer):
    """Train a pretext method with MONAI's and ignite's events.

    Each iteration calls the method on a batch; it returns the loss and an embedding, which become
    ``engine.state.output``. MONAI's iteration events fire in their usual order; a handler of ``LOSS_COMPLETED`` sees
    the loss before it reaches the weights. As in MONAI's trainers, the output is a dictionary within an iteration and
    a list of dictionaries after it, here of one: that of the batch. ``monai.handlers.from_engine(["loss"],
    first=True)`` and MONAI's stock handlers take it.

    Args:
        max_epochs: passes over the data.
        train_data_loader: yields dictionaries with ``image``. A sampler with ``set_epoch`` is told the epoch, from 0.
        method: a :class:`monai_cxrssl.methods.PretextMethod`, bare or wrapped for data-parallel training.
        inferer: calls the method, by default MONAI's ``SimpleInferer``.
        prepare_batch: see :func:`prepare_views`, and :class:`monai_cxrssl.engines.DeviceViews` for views that are made
            on the device. Before it, a method that has ``check_batch`` looks at the batch on the host.
        accumulation_steps: batches whose gradients are averaged before a step. Contrastive methods still see the
            negatives of one batch at a time; for a larger set see ``gradient_cache_chunk``.
        amp: see :func:`monai_cxrssl.hardware.autocast_dtype`.
        channels_last: keep convolution weights and activations channels-last, which is faster.
        clip_grad_norm: largest gradient norm, or ``None`` for no limit.
        epoch_length: iterations per epoch, by default the loader's length.
        max_iterations: end after so many, within an epoch too, whose handlers of ``EPOCH_COMPLETED`` are then called.
        gradient_cache_chunk: samples whose activations are held at a time while the loss compares the whole batch, for
            contrastive methods (:class:`monai_cxrssl.engines.gradient_cache.GradientCache`); ``None`` for all at once.
        compile: see :func:`monai_cxrssl.hardware.compile.compile_network`; the time of the first step is then logged.

    Attributes:
        handlers: the ``train_handlers``, attached.

    Raises:
        ConfigurationError: when the loader is empty, an option is out of range, or the method cannot be cut in chunks.
    """

    def __init__(
        self,
        device: torch.device | str,
        max_epochs: int,
        train_data_loader: Iterable | DataLoader,
        method: nn.Module,
        optimizer: torch.optim.Optimizer,
        inferer: Inferer | None = None,
        prepare_batch: BatchPreparer = prepare_views,
        accumulation_steps: int = 1,
        amp: bool | str = "auto",
        channels_last: bool = True,
        clip_grad_norm: float | None = None,
        epoch_length: int | None = None,
        train_handlers: Sequence | None = None,
        gradient_cache_chunk: int | None = None,
        compile: bool | str = False,
        max_iterations: int | None = None,
    ) -> None:
        if max_iterations is not None and (max_iterations < 1 or max_iterations % accumulation_steps):
            raise ConfigurationError(
                f"max_iterations must be 1 or more, and a multiple of accumulation_steps ({accumulation_steps}), got "
                f"{max_iterations}."
            )
        if int(max_epochs) < 1:
            raise ConfigurationError(f"max_epochs must be at least 1, got {max_epochs}.")
        if accumulation_steps < 1:
            raise ConfigurationError(f"accumulation_steps must be at least 1, got {accumulation_steps}.")
        self.autocast_dtype = autocast_dtype(device, amp)
        super().__init__(
            device=device,
            max_epochs=int(max_epochs),
            data_loader=train_data_loader,
            epoch_length=epoch_length,
            non_blocking=torch.device(device).type == "cuda",
            prepare_batch=prepare_batch,
            decollate=False,
            amp=self.autocast_dtype is torch.float16,
        )
        # Ignite would add a line to each of RunHistory's, and call every start a resumption.
        self.logger.setLevel(logging.WARNING)
        if self.state.epoch_length == 0:
            raise ConfigurationError(
                "An epoch holds no batch: there are fewer images than one batch needs. Lower --batch_size."
            )
        self.method = method.to(device)
        if channels_last:
            self.method = self.method.to(memory_format=torch.channels_last)
        begin = getattr(self.unwrapped_method, "begin", None)
        if begin is not None:
            begin(int(max_epochs))
        self.optimizer = optimizer
        self.inferer = SimpleInferer() if inferer is None else inferer
        self.accumulation_steps = accumulation_steps
        self.gradient_cache_chunk = gradient_cache_chunk
        if gradient_cache_chunk is not None:
            check_chunk(gradient_cache_chunk, self.unwrapped_method)
        self.clip_grad_norm = clip_grad_norm
        # Only float16 needs its gradients scaled; made here, not in run(), so that a checkpoint can fill it.
        self.grad_scaler = torch.amp.GradScaler(torch.device(device).type, enabled=self.amp)
        if compile and str(compile).lower() != "false":
            compile_network(self.unwrapped_method, device, compile)
            FirstStepTime().attach(self)
        self.max_iterations = max_iterations
        if max_iterations is not None:
            self.state.max_epochs = min(int(max_epochs), math.ceil(max_iterations / self.state.epoch_length))
            self.add_event_handler(Events.ITERATION_COMPLETED, self._end_epoch)
        sampler = getattr(train_data_loader, "sampler", None)
        for candidate in (sampler, getattr(train_data_loader, "batch_sampler", None)):
            if hasattr(candidate, "set_epoch"):
                self.add_event_handler(Events.EPOCH_STARTED, self._tell_epoch, candidate)
        self.handlers = list(train_handlers or [])
        self._register_handlers(self.handlers)

    @staticmethod
    def _tell_epoch(engine: Engine, sampler: Any) -> None:
        sampler.set_epoch(engine.state.epoch - 1)

    @property
    def total_iterations(self) -> int:
        """Iterations of the whole run."""
        epochs = int(self.state.max_epochs) * int(self.state.epoch_length)
        return epochs if self.max_iterations is None else min(epochs, self.max_iterations)

    @staticmethod
    def _end_epoch(engine: Any) -> None:
        if engine.state.iteration == engine.total_iterations and engine.state.iteration % engine.state.epoch_length:
            engine.terminate_epoch()

    @property
    def network(self) -> nn.Module:
        """The encoder that is being trained."""
        return self.unwrapped_method.network

    @property
    def unwrapped_method(self) -> Any:
        """The method without a data-parallel wrapper."""
        return getattr(self.method, "module", self.method)

    def run(self) -> None:  # type: ignore[override]
        """Train from the current state to ``max_epochs``; a state that is already there only finishes."""
        if self.state.epoch >= self.state.max_epochs or self.state.iteration >= self.total_iterations:
            logger.info("All %d epochs are already trained.", self.state.max_epochs)  # ignite would start over
            self._fire_event(Events.STARTED)
            self._fire_event(Events.COMPLETED)
            return
        super(Trainer, self).run()

    def _autocast(self) -> torch.autocast:
        """Return a new context of the chosen precision."""
        enabled = self.autocast_dtype is not None
        return torch.autocast(self.state.device.type, dtype=self.autocast_dtype, enabled=enabled)

    def _exchange(self, wanted: bool) -> contextlib.AbstractContextManager:
        """Return a context whose backward passes exchange gradients between processes, or do not."""
        wrapper: Any = self.method
        if wanted or not hasattr(wrapper, "no_sync"):
            return contextlib.nullcontext()
        return wrapper.no_sync()

    def _iteration(self, engine: Any, batchdata: dict[str, Any]) -> list[dict[str, Tensor]]:  # type: ignore[override]
        check = getattr(self.unwrapped_method, "check_batch", None)
        if check is not None:
            # Here, where a look at a value makes nobody wait; on the device it would empty its queue.
            batchdata = check(batchdata)
        batch = self.prepare_batch(batchdata, self.state.device, self.non_blocking, **self.to_kwargs)
        # The last group of an epoch may be shorter; dividing by its own length keeps its step as large as the others.
        position = (engine.state.iteration - 1) % engine.state.epoch_length
        group = position // self.accumulation_steps * self.accumulation_steps
        group_length = min(self.accumulation_steps, engine.state.epoch_length - group)
        last_of_group = position - group + 1 == group_length
        self.method.train()
        cache = None
        # Processes exchange gradients once per step, in the backward pass that completes them.
        with self._exchange(last_of_group):
            if self.gradient_cache_chunk is None:
                with self._autocast():
                    output = self.inferer(batch, self.method)
            else:
                cache = GradientCache(
                    self.method, batch, self.gradient_cache_chunk, self.inferer, self._autocast, self._exchange
                )
                output = cache.output
            engine.state.output = output
            engine.fire_event(IterationEvents.FORWARD_COMPLETED)
            engine.fire_event(IterationEvents.LOSS_COMPLETED)
            self.grad_scaler.scale(output["loss"] / group_length).backward()
            if cache is not None:
                cache.backward(last_of_group)
        engine.fire_event(IterationEvents.BACKWARD_COMPLETED)
        if last_of_group:
            if self.clip_grad_norm is not None:
                self.grad_scaler.unscale_(self.optimizer)
                nn.utils.clip_grad_norm_(self.method.parameters(), self.clip_grad_norm)
            self.grad_scaler.step(self.optimizer)
            self.grad_scaler.update()
            self.optimizer.zero_grad(set_to_none=True)
            self.unwrapped_method.after_step(engine.state.iteration / engine.total_iterations)
        engine.fire_event(IterationEvents.MODEL_COMPLETED)
        return [{name: value.detach() for name, value in output.items()}]
