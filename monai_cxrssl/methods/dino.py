# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""DINO: self-distillation over global and local views."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import ClassVar, cast

import ignite.distributed as idist
import torch
from torch import Tensor, nn

from monai_cxrssl.errors import ConfigurationError
from monai_cxrssl.losses.dino import DINOLoss
from monai_cxrssl.methods.method import PretextMethod
from monai_cxrssl.networks.encoder import Encoder
from monai_cxrssl.networks.momentum import EMACopy, momentum_at
from monai_cxrssl.networks.pretext.dino_head import DINOHead

__all__ = ["DINO"]


class DINO(PretextMethod):
    """Self-distillation with no labels (Caron et al. 2021, arXiv 2104.14294).

    The student sees all views of an image, the teacher, a moving average of it, the two global ones; each view of the
    student learns what the teacher says of another view. The teacher's outputs are centred by a moving average over
    batches and sharpened by a low temperature, which together prevent collapse. In a run's first epochs the last layer
    of the head rests.

    What is kept is the teacher: with the last step of a run its encoder's weights become those of ``network``. A probe
    within the run sees the student.

    Our choices: the embedding is the encoder's own, however it pools, where the paper takes the class token; batches
    whose gradients are accumulated see one centre; the warm-up of the teacher's temperature is a share of the run.

    Args:
        momentum: of the teacher at the start; it rises to 1 along a cosine.
        prototypes: length of the head's output, K.
        hidden_channels: width of the head's hidden layers.
        bottleneck_channels: length of the vector before the last layer.
        temperature: of the student.
        teacher_temperature: at the start and after its linear warm-up.
        warmup_share: share of the run that this warm-up takes, 30 of 100 epochs in the paper.
        centre_momentum: share of itself that the centre keeps in each step.
        frozen_epochs: how long the last layer rests; the trainer tells the method of how many epochs a run is.

    Raises:
        ConfigurationError: an option is out of its range.
    """

    num_views: ClassVar[int] = 2

    centre: Tensor

    def __init__(
        self,
        network: Encoder,
        momentum: float = 0.996,
        prototypes: int = 65536,
        hidden_channels: int = 2048,
        bottleneck_channels: int = 256,
        temperature: float = 0.1,
        teacher_temperature: tuple[float, float] = (0.04, 0.07),
        warmup_share: float = 0.3,
        centre_momentum: float = 0.9,
        frozen_epochs: float = 1.0,
    ) -> None:
        super().__init__(network)
        if min(teacher_temperature) <= 0:
            raise ConfigurationError(f"The teacher's temperatures of DINO are {teacher_temperature}; give two above 0.")
        for name, share in (("warmup_share", warmup_share), ("centre_momentum", centre_momentum)):
            if not 0 <= share <= 1:
                raise ConfigurationError(f"{name} is {share}; give a share between 0 and 1.")
        self.head = DINOHead(network.out_channels, prototypes, hidden_channels, bottleneck_channels)
        # In a tuple, so that the trained parts are not registered, saved and optimised a second time.
        self._student = (nn.Sequential(network, self.head),)
        self.momentum = float(momentum)
        self.teacher = EMACopy(self._student[0], self.momentum, dropout=False)
        self.loss_function = DINOLoss(temperature)
        self.first_temperature, self.last_temperature = map(float, teacher_temperature)
        self.warmup_share = float(warmup_share)
        self.centre_momentum = float(centre_momentum)
        self.frozen_epochs = float(frozen_epochs)
        self.register_buffer("centre", torch.zeros(prototypes))
        self._progress, self._epochs = 0.0, 0
        self._waiting: list[Tensor] = []

    @property
    def teacher_temperature(self) -> float:
        """The teacher's temperature of the next step."""
        share = min(self._progress / self.warmup_share, 1.0) if self.warmup_share else 1.0
        return self.first_temperature + (self.last_temperature - self.first_temperature) * share

    @property
    def last_layer_frozen(self) -> bool:
        """Whether the last layer rests in the next step."""
        return self._progress * self._epochs < self.frozen_epochs and self._epochs > 0

    def begin(self, epochs: int) -> None:
        """Take note of how many epochs the run has."""
        self._epochs = int(epochs)

    def forward(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the loss of a batch, and as ``trivial_loss`` that of an even answer over the prototypes, log K.

        Args:
            batch: ``image`` ``(B, 2, 1, H, W)``, the global views, float in [0, 1]; and ``local_image``
                ``(B, L, 1, h, w)``, the local ones, if any.
        """
        student, embedding = self._outputs(batch["image"])
        outputs = [student]
        if "local_image" in batch:
            outputs.append(self._outputs(batch["local_image"])[0])
        teacher = self.teacher(_by_view(batch["image"])).float().unflatten(0, (2, -1))
        loss = self.loss_function(torch.cat(outputs), teacher, self.centre, self.teacher_temperature)
        if self.training:
            self._waiting.append(teacher.mean((0, 1)))
        trivial = torch.full_like(loss.detach(), math.log(len(self.centre)))
        return {"loss": loss, "trivial_loss": trivial, "embedding": embedding.detach()}

    def _outputs(self, views: Tensor) -> tuple[Tensor, Tensor]:
        """Return the student's outputs ``(V, B, K)`` of views ``(B, V, 1, H, W)``, and the embeddings ``(V B, D)``."""
        embedding = self.network(_by_view(views))
        return self.head(embedding, self.last_layer_frozen).unflatten(0, (views.shape[1], -1)), embedding

    @torch.no_grad()
    def after_step(self, progress: float) -> None:
        """Move the teacher towards the student and the centre towards the teacher's outputs of all processes."""
        self.teacher.update(self._student[0], momentum_at(progress, self.momentum))
        if self._waiting:
            mean = torch.stack(self._waiting).mean(0)
            if idist.get_world_size() > 1:
                mean = cast(Tensor, idist.all_reduce(mean)) / idist.get_world_size()
            self.centre.lerp_(mean, 1 - self.centre_momentum)
            self._waiting.clear()
        self._progress = float(progress)
        if progress >= 1:
            self.network.load_state_dict(self.teacher.network[0].state_dict())  # type: ignore[index]

    def get_extra_state(self) -> Tensor:
        """Return the count of draws and the progress of the run for the state dict."""
        return torch.tensor([self._draws, self._progress], dtype=torch.float64)

    def set_extra_state(self, state: Tensor) -> None:
        """Take over the count and the progress of a checkpoint."""
        self._draws, self._progress = int(state[0]), float(state[1])


def _by_view(views: Tensor) -> Tensor:
    return views.transpose(0, 1).flatten(0, 1)
