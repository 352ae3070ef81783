# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""MoCo v2: momentum encoder and queue of keys."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn

from monai_cxrssl.errors import ConfigurationError
from monai_cxrssl.losses.info_nce import InfoNCELoss
from monai_cxrssl.methods.contrastive import ContrastiveMethod
from monai_cxrssl.networks.encoder import Encoder
from monai_cxrssl.networks.heads import ProjectionHead
from monai_cxrssl.networks.momentum import EMACopy

__all__ = ["MoCo"]


def _gathered(rows: Tensor) -> Tensor:
    """Return the rows of all processes, process by process; every process must hold as many."""
    parts = [torch.empty_like(rows, memory_format=torch.contiguous_format) for _ in range(dist.get_world_size())]
    dist.all_gather(parts, rows.contiguous())
    return torch.cat(parts)


class MoCo(ContrastiveMethod):
    """Momentum contrast, version 2 (He et al. 2020, arXiv 1911.05722; Chen et al. 2020, arXiv 2003.04297).

    The first view is the query; the second goes through the key encoder, a moving average of the trained one, and then
    stands in a queue as a negative of later queries. The queue is part of the state dict. Keys join it after the
    optimiser's step, so that with accumulated gradients all batches of a step see the same negatives.

    Our choices: places of the queue that no key has reached yet are no negatives, where the paper starts from random
    vectors, so the loss grows while the queue fills; keys of the query's own patient are no negatives either, which
    also excludes the same image of an earlier epoch. A queue should hold fewer keys than the data holds images.

    Args:
        queue_length: keys in the queue, K; it need not be a multiple of the batch.
        momentum: share of itself that the key encoder keeps in each step.
        projection_channels: length of the projection that the loss sees.
        hidden_channels: width of the head's hidden layers, by default the encoder's embedding length.
        projection_layers: linear layers of the head, 2 in MoCo v2.
        gather: work with all processes of ``torch.distributed`` as one: the queue takes the keys of all of them, and
            each computes the keys of a random share of all images ("shuffling BN"), so that the statistics of batch
            normalisation do not tell a query which key is its own. In a single process there is nobody to exchange
            images with, and nothing is shuffled. Without ``gather`` each process has a queue of its own.
        mask_same_patient: do not take keys of a query's own patient as its negatives. The batch must then hold
            ``patient``.

    Raises:
        ConfigurationError: when the queue length or the number of groups is less than 1, or an option of a part is out
            of range.
    """

    num_views: ClassVar[int] = 2

    queue: Tensor
    queue_patient: Tensor

    def __init__(
        self,
        network: Encoder,
        temperature: float = 0.2,
        queue_length: int = 65536,
        momentum: float = 0.999,
        projection_channels: int = 128,
        hidden_channels: int | None = None,
        projection_layers: int = 2,
        gather: bool = False,
        mask_same_patient: bool = True,
        key_groups: int = 4,
        seed: int = 0,
    ) -> None:
        super().__init__(network, seed)
        if key_groups < 1:
            raise ConfigurationError(f"key_groups must be at least 1, got {key_groups}.")
        if queue_length < 1:
            raise ConfigurationError(f"The queue of MoCo must hold at least one key, got queue_length {queue_length}.")
        self.projection_head = ProjectionHead(
            network.out_channels, hidden_channels, projection_channels, projection_layers, norm=False
        )
        # In a tuple, so that the trained parts are not registered, saved and optimised a second time.
        self._query_encoder = (nn.Sequential(network, self.projection_head),)
        self.key_encoder = EMACopy(self._query_encoder[0], momentum)
        self.loss_function = InfoNCELoss(temperature)
        self.gather = gather
        self.key_groups = int(key_groups)
        self.mask_same_patient = mask_same_patient
        self.register_buffer("queue", torch.zeros(projection_channels, queue_length))
        self.register_buffer("queue_patient", torch.zeros(queue_length, dtype=torch.int64))
        # All processes enqueue the same keys; broadcasting the queue in each step would only cost its 32 MB.
        self._ddp_params_and_buffers_to_ignore = ["queue", "queue_patient"]
        self._enqueued = 0
        self._waiting: list[tuple[Tensor, Tensor | None]] = []

    @property
    def filled(self) -> int:
        """Places of the queue that hold a key."""
        return min(self._enqueued, self.queue.shape[1])

    def embed(self, batch: Mapping[str, Tensor]) -> Tensor:
        """Return the queries ``(B, 1, D)``, projections of the first views of ``image`` ``(B, 2, 1, H, W)``."""
        return self.projection_head(self.network(batch["image"][:, 0])).unsqueeze(1)

    def contrast(self, embeddings: Tensor, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the loss of queries ``(B, 1, D)`` against the keys of the second views and the queue.

        In training mode the keys are kept for :meth:`after_step`. A batch without patients to mask is a
        ConfigurationError.
        """
        query, patients = embeddings.squeeze(1), self._patients(batch, self.mask_same_patient)
        keys, shared_keys, shared_patients = self._keys(batch["image"][:, 1], patients)
        filled = self.filled
        groups = patients, None if patients is None else self.queue_patient[:filled]
        loss = self.loss_function(query, keys, self.queue[:, :filled], *groups)
        # Images that all look alike: the mean log of how many keys a query has.
        alike = torch.ones(len(query), 1, device=query.device)
        trivial = self.loss_function(alike, alike, alike.new_ones(1, filled), *groups)
        if self.training:
            self._waiting.append((shared_keys, shared_patients))
        return {"loss": loss, "trivial_loss": trivial, "embedding": query.detach()}

    @torch.no_grad()
    def _keys(self, images: Tensor, patients: Tensor | None) -> tuple[Tensor, Tensor, Tensor | None]:
        """Return the keys of these images, then the keys and the patients of all processes' images."""
        if not (self.gather and dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1):
            keys = self._keys_in_groups(images)
            return keys, keys, patients
        everyone = _gathered(images)
        order = torch.randperm(everyone.shape[0], device=images.device, generator=self.generator(images.device))
        dist.broadcast(order, 0)
        rank, share = dist.get_rank(), images.shape[0]
        own = slice(rank * share, (rank + 1) * share)
        shuffled = _gathered(F.normalize(self.key_encoder(everyone[order[own]]).float(), dim=1))
        keys = shuffled[torch.argsort(order)]
        return keys[own], keys, None if patients is None else _gathered(patients)

    def _keys_in_groups(self, images: Tensor) -> Tensor:
        # Batch statistics want at least two images.
        groups = min(self.key_groups, images.shape[0] // 2)
        if groups < 2:
            return F.normalize(self.key_encoder(images).float(), dim=1)
        order = torch.randperm(images.shape[0], device=images.device, generator=self.generator(images.device))
        parts = [self.key_encoder(part).float() for part in images[order].tensor_split(groups)]
        return F.normalize(torch.cat(parts)[torch.argsort(order)], dim=1)

    @torch.no_grad()
    def after_step(self, progress: float) -> None:
        """Let the key encoder follow, and the keys of this step join the queue."""
        self.key_encoder.update(self._query_encoder[0])
        for keys, patients in self._waiting:
            self._enqueue(keys, patients)
        self._waiting.clear()

    def _enqueue(self, keys: Tensor, patients: Tensor | None) -> None:
        """Write keys ``(N, D)`` over the oldest ones; of more keys than the queue holds the last remain."""
        length, count = self.queue.shape[1], keys.shape[0]
        written = min(count, length)
        # The position is a number of this process, not of the device, so that no step waits for it; and one or two runs
        # of places are written, not places one by one.
        start = (self._enqueued + count - written) % length
        before_end = min(written, length - start)
        for place, first, last in ((start, 0, before_end), (0, before_end, written)):
            if first == last:
                continue
            taken = slice(count - written + first, count - written + last)
            self.queue[:, place : place + last - first] = keys[taken].T
            if patients is not None:
                self.queue_patient[place : place + last - first] = patients[taken]
        self._enqueued += count

    def get_extra_state(self) -> Tensor:
        """Return the count of draws and that of keys enqueued so far for the state dict."""
        return torch.tensor([self._draws, self._enqueued], dtype=torch.int64)

    def set_extra_state(self, state: Tensor) -> None:
        """Take over the counts of a checkpoint."""
        self._draws, self._enqueued = (int(value) for value in state)
