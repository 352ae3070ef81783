# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Fine-tuning method: network, loss and weight average."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from monai_cxrssl.errors import ConfigurationError
from monai_cxrssl.networks.momentum import EMACopy
from monai_cxrssl.networks.parts.named_logits import named_logits

__all__ = ["FineTuningMethod"]


class FineTuningMethod(nn.Module):
    """What one step of fine-tuning computes, and what a checkpoint must hold of it.

    The encoder may be frozen, and with it the network's ``head_layers`` and a fitted label head: its weights then get
    no gradient, and it stays in evaluation mode, so that the running statistics of batch normalisation do not move
    either. A linear probe freezes it for the whole run.

    The average of the weights follows every optimiser step t (from 0) with the momentum
    ``min(average_momentum, (1 + t) / (10 + t))``: a short run is not dominated by the weights that it began with.

    Args:
        network: has ``encoder``; called with images ``(B, 1, H, W)`` it returns ``{"label": (B, C) logits}``,
            ``{"mask": (B, M, H, W) logits}`` or both, or the bare logits where it names its ``branches``:
            :class:`monai_cxrssl.networks.MultiTaskNet`.
        loss_function: called with the network's output and the batch, returns ``loss`` and its parts, scalars, by
            name: :class:`monai_cxrssl.losses.MultiTaskLoss`. Where a batch has nothing to say to a branch, the gradient
            must be zero rather than absent: processes that train together wait for that of every weight. The loss's
            parameters, if any, belong in the optimiser.
        average_momentum: momentum of the average of the weights, which is then what is evaluated; ``None`` for none.

    Raises:
        ConfigurationError: a network without an encoder.
    """

    def __init__(
        self,
        network: nn.Module,
        loss_function: nn.Module,
        linear_probe: bool = False,
        average_momentum: float | None = None,
    ) -> None:
        super().__init__()
        if not isinstance(getattr(network, "encoder", None), nn.Module):
            raise ConfigurationError(f"A {type(network).__name__} has no encoder; fine-tuning takes a MultiTaskNet.")
        self.network = network
        self.loss_function = loss_function
        self.linear_probe = bool(linear_probe)
        self.average = None if average_momentum is None else EMACopy(network, float(average_momentum), keep_eval=True)
        self.steps = 0
        # Some weights of an encoder may never want a gradient, such as the last normalisation of a transformer.
        self._learning = [p for module in self.pretrained for p in module.parameters() if p.requires_grad]
        # Now, because data-parallel training takes no change of what wants a gradient once it wraps the method.
        self.freeze_encoder(self.linear_probe)

    @property
    def encoder(self) -> nn.Module:
        """The encoder that is trained."""
        return self.network.encoder  # type: ignore[return-value]

    @property
    def pretrained(self) -> list[nn.Module]:
        """The encoder and, if any, the layers of a projection head and the fitted label head that are frozen with it.

        In a linear probe a fitted label head learns: it is all that does.
        """
        if getattr(self.network, "head_is_fitted", False) and not self.linear_probe:
            return [self.encoder, self.network.classification_head]  # type: ignore[list-item]
        layers = getattr(self.network, "head_layers", None)
        return [self.encoder] if layers is None else [self.encoder, layers]

    @property
    def evaluated_network(self) -> nn.Module:
        """The network to evaluate and to keep: the average of the weights where there is one."""
        return self.network if self.average is None else self.average.network

    def freeze_encoder(self, frozen: bool, save_gradients: bool = True) -> None:
        """Freeze the encoder or let it learn; a linear probe stays frozen.

        Gradients of a frozen encoder are not even computed, unless ``save_gradients`` is off: a data-parallel wrapper
        waits for those that it was made for, so once there is one they must be computed, and are then discarded.
        """
        self.encoder_frozen = bool(frozen) or self.linear_probe
        if save_gradients:
            for parameter in self._learning:
                parameter.requires_grad_(not self.encoder_frozen)

    def train(self, mode: bool = True) -> FineTuningMethod:
        """Set the mode; a frozen encoder stays in evaluation mode."""
        super().train(mode)
        if self.encoder_frozen:
            for module in self.pretrained:
                module.eval()
        return self

    def check_batch(self, batch: Mapping[str, Any]) -> Mapping[str, Any]:
        """Look at the labels and masks of a batch on the host, so that the loss need not wait for the device.

        The batch is that of :meth:`forward`, before it goes to the device; what the loss's ``check`` finds is added
        where it has one: :class:`monai_cxrssl.losses.MultiTaskLoss`.
        """
        check = getattr(self.loss_function, "check", None)
        classes = getattr(self.network, "num_classes", None)
        if check is None or classes is None:
            return batch
        return {**batch, **check(batch, classes, masks=getattr(self.network, "decoder", None) is not None)}

    def forward(self, batch: Mapping[str, Any]) -> dict[str, Tensor]:
        """Return the loss of a batch, its parts, and what the network said.

        Args:
            batch: ``image`` ``(B, 1, H, W)`` float in [0, 1], ``label`` int64 ``(B,)`` with -1 = unknown or float
                ``(B, C)`` with NaN = unknown, ``mask`` ``(B, M, H, W)`` uint8, ``has_mask`` ``(B,)`` bool.

        Returns:
            ``loss``, the other scalars of the loss (``label_loss``, ``mask_loss``), and the logits, without a graph, as
            ``label_logits`` and ``mask_logits``.
        """
        output = named_logits(self.network, self.network(batch["image"]))
        losses = self.loss_function(output, batch)
        result = {name: value for name, value in losses.items() if isinstance(value, Tensor)}
        return result | {f"{name}_logits": branch.detach() for name, branch in output.items()}

    def discard_frozen_gradients(self) -> None:
        """Drop the gradients of a frozen encoder before an optimiser step, which then passes it over."""
        if self.encoder_frozen:
            for parameter in (p for module in self.pretrained for p in module.parameters()):
                parameter.grad = None

    def after_step(self, progress: float) -> None:
        """Move the average after an optimiser step; called by the trainer."""
        if self.average is not None:
            momentum = min(self.average.momentum, (1 + self.steps) / (10 + self.steps))
            self.average.update(self.network, momentum)
        self.steps += 1

    def get_extra_state(self) -> dict[str, int]:
        """Return the number of steps, which the average goes by."""
        return {"steps": self.steps}

    def set_extra_state(self, state: dict[str, int]) -> None:
        """Take over the number of steps of a checkpoint."""
        self.steps = int(state["steps"])
