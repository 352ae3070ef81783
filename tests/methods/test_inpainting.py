# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest
import torch

from monai_cxrssl.errors import ConfigurationError
from monai_cxrssl.methods import Inpainting
from monai_cxrssl.networks import Encoder, ReconstructionDecoder


def batch(size: int = 3, side: int = 64) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    mask = torch.zeros(size, 1, 1, side, side, dtype=torch.uint8)
    mask[..., side // 4 : side // 2, side // 4 : side // 2] = 1
    return {"image": torch.rand(size, 1, 1, side, side, generator=generator), "lung_mask": mask}


def build(encoder_name: str = "resnet18", **options) -> Inpainting:
    torch.manual_seed(0)
    return Inpainting(Encoder(encoder_name), **options)


def watched(method: Inpainting, data: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """What the network saw, what the decoder made, and the result."""
    seen: dict[str, torch.Tensor] = {}

    def see(name, position):
        def hook(module, inputs, output):
            seen[name] = output if position is None else inputs[position]
            if seen[name].requires_grad:
                seen[name].retain_grad()

        return hook

    handles = [
        method.network.normalise.register_forward_hook(see("corrupted", 0)),
        method.decoder.register_forward_hook(see("made", None)),
    ]
    seen |= method(data)
    for handle in handles:
        handle.remove()
    return seen


@pytest.mark.parametrize(("norm", "power"), [("l1", 1), ("l2", 2)])
@pytest.mark.parametrize("encoder_name", ["resnet18", "tu-vit_tiny_patch16_224"])
def test_loss_and_gradient_live_in_the_holes_only(norm, power, encoder_name):
    """Check 4 of the methods."""
    data = batch()
    seen = watched(build(encoder_name, norm=norm), data)
    images = data["image"][:, 0]
    holes = seen["corrupted"] != images
    assert seen["corrupted"][holes].eq(0).all()
    assert 0 < holes.float().mean() < 0.3
    expected = ((seen["made"] - images).double().abs() ** power)[holes].mean()
    assert seen["loss"].item() == pytest.approx(expected.item(), rel=1e-5)
    seen["loss"].backward()
    assert seen["made"].grad[~holes].eq(0).all()
    assert seen["made"].grad[holes].ne(0).all()


def test_holes_lie_over_the_lungs_and_change():
    method, data = build(hole_size=(0.02, 0.02)).eval(), batch()
    seen = [watched(method, data)["corrupted"] != data["image"][:, 0] for _ in range(2)]
    for holes in seen:
        assert not (holes & (data["lung_mask"][:, 0] == 0)).any()
    assert not torch.equal(*seen)


def test_every_weight_exists_once_and_learns():
    method = build().train()
    encoder = sum(parameter.numel() for parameter in method.network.parameters())
    decoder = sum(parameter.numel() for parameter in method.decoder.parameters())
    assert sum(parameter.numel() for parameter in method.parameters()) == encoder + decoder
    assert sum(name.startswith("network.") for name in method.state_dict()) == len(method.network.state_dict())
    assert not any("encoder" in name for name in method.decoder.state_dict())
    method(batch())["loss"].backward()
    assert all(parameter.grad is not None for parameter in method.parameters())
    assert method.network.encoder.conv1.weight.grad.abs().sum() > 0


def test_it_learns_to_fill_holes():
    method = build().train()
    optimizer = torch.optim.AdamW(method.parameters(), 1e-3)
    data = batch(4)
    data["image"] = torch.linspace(0.2, 0.9, 64).expand(4, 1, 1, 64, 64).contiguous()
    losses = []
    for _ in range(15):
        optimizer.zero_grad()
        loss = method(data)["loss"]
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert sum(losses[-5:]) < 0.5 * sum(losses[:5])


def test_a_resumed_run_draws_the_same_holes(tmp_path):
    first, again, data = build().eval(), build().eval(), batch()
    first(data)
    torch.save(first.state_dict(), tmp_path / "state.pt")
    again.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    assert torch.equal(watched(again, data)["corrupted"], watched(first, data)["corrupted"])
    assert not torch.equal(watched(build(seed=4), data)["corrupted"], watched(build(), data)["corrupted"])


def test_views_are_samples_and_autocast():
    data = batch(2)
    data = {name: value.repeat(1, 2, 1, 1, 1) for name, value in data.items()}
    with torch.autocast("cpu", dtype=torch.bfloat16):
        output = build()(data)
    assert output["embedding"].shape == (4, 512)
    assert not output["embedding"].requires_grad
    assert output["loss"].dtype == torch.float32
    assert output["loss"].isfinite()


@pytest.mark.parametrize(
    ("encoder_name", "decoder", "word"),
    [
        ("resnet18", "DPT", "choose Unet or auto"),
        ("tu-vit_tiny_patch16_224", "Unet", "choose DPT or auto"),
        ("resnet18", "unet", "expected one of auto, Unet, DPT"),
    ],
)
def test_decoders_that_do_not_fit(encoder_name, decoder, word):
    with pytest.raises(ConfigurationError, match=word):
        build(encoder_name, decoder=decoder)


def test_what_a_batch_must_hold():
    data = batch()
    with pytest.raises(ConfigurationError, match="'lung_mask'"):
        build()({"image": data["image"]})
    assert watched(build(), batch(side=60))["made"].shape[-2:] == (60, 60)
    with pytest.raises(ConfigurationError, match="48 x 48 px; a DPT decoder on this encoder needs multiples of 32"):
        build("tu-vit_tiny_patch16_224")(batch(side=48))


@pytest.mark.parametrize("encoder_name", ["vgg11", "tu-convnext_atto", "mobilenet_v2"])
def test_decoders_of_other_encoders(encoder_name):
    network = Encoder(encoder_name)
    decoder = ReconstructionDecoder(network)
    assert decoder(network.encoder(torch.zeros(2, 1, 64, 96))).shape == (2, 1, 64, 96)
