# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Methods whose loss compares the embeddings of a whole batch."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping

from torch import Tensor

from monai_cxrssl.errors import ConfigurationError
from monai_cxrssl.methods.method import PretextMethod

__all__ = ["ContrastiveMethod"]


class ContrastiveMethod(PretextMethod):
    """A pretext method in two halves: embed each sample by itself, then compare all of them.

    The halves let :class:`monai_cxrssl.engines.MethodTrainer` embed a large batch in small chunks and still compare the
    whole (its option ``gradient_cache_chunk``).
    """

    @abstractmethod
    def embed(self, batch: Mapping[str, Tensor]) -> Tensor:
        """Return the embeddings that carry the gradient, ``(B, V, D)``, of a batch or of a part of one.

        Except through batch normalisation no sample may depend on another one.
        """

    @abstractmethod
    def contrast(self, embeddings: Tensor, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return what :meth:`forward` returns, given the embeddings ``(B, V, D)`` of the whole batch."""

    def forward(self, batch: Mapping[str, Tensor], contrast: bool = True) -> dict[str, Tensor]:
        """Return the loss of a batch, a scalar, and as ``embedding`` ``(N, D)``, detached, what it compared.

        Without contrast there is only ``embedding`` ``(B, V, D)``, which then carries the gradient.

        Args:
            batch: ``image`` ``(B, num_views, 1, H, W)`` float in [0, 1]; ``patient`` ``(B,)`` integer ids.
            contrast: ``False`` to stop after :meth:`embed`; an argument because ``DistributedDataParallel`` prepares
                the exchange of gradients in calls of this method only.
        """
        embeddings = self.embed(batch)
        return self.contrast(embeddings, batch) if contrast else {"embedding": embeddings}

    def _patients(self, batch: Mapping[str, Tensor], mask_same_patient: bool) -> Tensor | None:
        """Return the ids ``(B,)`` within which there are no negatives, or ``None``."""
        if not mask_same_patient:
            return None
        if "patient" not in batch:
            raise ConfigurationError(
                f"{type(self).__name__} needs the patient of every pair, so that images of one patient are no "
                "negatives of each other: the batch holds no 'patient'. Add it, or set mask_same_patient to false."
            )
        return batch["patient"]
