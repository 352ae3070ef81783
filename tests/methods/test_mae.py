# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest
import torch

from monai_cxrssl.errors import ConfigurationError
from monai_cxrssl.methods import MAE
from monai_cxrssl.networks import Encoder
from monai_cxrssl.networks.pretext.mae import MAEDecoder, VisibleTokens, patches

VIT = "tu-vit_tiny_patch16_224"


def build(name: str = VIT, **options) -> MAE:
    torch.manual_seed(0)
    return MAE(Encoder(name), **options)


def batch(size: int = 3, side: int = 64, seed: int = 0) -> dict[str, torch.Tensor]:
    return {"image": torch.rand(size, 1, 1, side, side, generator=torch.Generator().manual_seed(seed))}


def test_patches_are_those_of_unfold():
    images = torch.rand(2, 3, 32, 48)
    expected = torch.nn.functional.unfold(images, 16, stride=16).transpose(1, 2)
    assert torch.equal(patches(images, 16), expected)


def test_loss_is_that_of_normalised_masked_patches():
    method, data = build().eval(), batch()
    output = method(data)
    method._draws = 0
    images = data["image"][:, 0]
    kept, masked = method.choose(images)
    with torch.no_grad():
        prediction = method.decoder(*method.tokens(images, kept), kept, (4, 4)).double()
    total = []
    for image, values, numbers in zip(images, prediction, masked, strict=True):
        for number in numbers.tolist():
            row, column = divmod(number, 4)
            patch = image[0, 16 * row : 16 * row + 16, 16 * column : 16 * column + 16].double().flatten()
            target = (patch - patch.mean()) / (patch.var(correction=0) + 1e-6).sqrt()
            total.append((values[number] - target).square().mean())
    assert output["loss"].item() == pytest.approx(torch.stack(total).mean().item(), rel=1e-5)
    assert output["embedding"].shape == (3, method.tokens.channels)


def test_visible_patches_have_no_gradient():
    method, data = build(), batch()
    seen = []

    def keep(module, inputs, output):
        output.retain_grad()
        seen.append(output)

    method.decoder.register_forward_hook(keep)
    method(data)["loss"].backward()
    method._draws = 0
    kept, masked = method.choose(data["image"][:, 0])
    for gradient, visible, hidden in zip(seen[0].grad, kept, masked, strict=True):
        assert not gradient[visible].any()
        assert gradient[hidden].any(dim=1).all()


@pytest.mark.parametrize(
    ("ratio", "side", "masked"), [(0.75, 64, 12), (0.75, 112, 37), (0.4, 224, 78), (0.01, 64, 1), (0.99, 64, 15)]
)
def test_every_image_has_as_many_masked_patches(ratio, side, masked):
    method = build(mask_ratio=ratio)
    kept, hidden = method.choose(batch(5, side)["image"][:, 0])
    count = (side // 16) ** 2
    assert kept.shape == (5, count - masked)
    assert hidden.shape == (5, masked)
    together = torch.cat([kept, hidden], 1).sort(dim=1).values
    assert torch.equal(together, torch.arange(count).expand(5, -1))
    assert len({tuple(sorted(row.tolist())) for row in hidden}) > 1


def test_patches_stand_where_they_were():
    """With a decoder that adds nothing, each visible place holds the value of its own patch."""
    decoder = MAEDecoder(32, 32, channels=32, depth=1)
    decoder.embed = decoder.blocks = decoder.to_pixels = torch.nn.Identity()
    places = torch.arange(12.0)[:, None].expand(12, 32)
    kept = torch.stack([torch.randperm(12)[:5] for _ in range(4)])
    visible = places[kept]
    positions = decoder(visible, visible[:, :0], kept, (3, 4)) - decoder(
        torch.zeros_like(visible), visible[:, :0], kept, (3, 4)
    )
    for row, numbers in zip(positions, kept, strict=True):
        expected = torch.zeros(12, 32)
        expected[numbers] = places[numbers]
        torch.testing.assert_close(row, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", [VIT, "tu-vit_small_patch8_224", "tu-deit_tiny_distilled_patch16_224"])
def test_visible_tokens_are_those_of_attention_to_visible_patches_alone(name):
    torch.manual_seed(1)
    network = Encoder(name).eval()
    tokens = VisibleTokens(network, "test")
    images, side = torch.rand(2, 1, 64, 48), tokens.patch_size
    count = 64 // side * 48 // side
    kept = torch.stack([torch.randperm(count)[:7] for _ in range(2)])
    visible, prefix = tokens(images, kept)
    model, first = network.encoder.model, tokens.prefix_tokens
    with torch.no_grad():
        full = model.norm_pre(model.patch_drop(model._pos_embed(model.patch_embed(network.normalise(images)))))
        attends = torch.zeros(2, first + count, dtype=torch.bool)
        attends[:, :first] = True
        attends.scatter_(1, kept + first, True)
        for block in model.blocks:
            full = block(full, attn_mask=attends[:, None, None, :])
    torch.testing.assert_close(prefix, full[:, :first], rtol=1e-4, atol=1e-4)
    expected = full[:, first:].gather(1, kept[..., None].expand(-1, -1, full.shape[-1]))
    torch.testing.assert_close(visible, expected, rtol=1e-4, atol=1e-4)
    # Nothing stays hooked to the encoder.
    assert network(images).shape == (2, network.out_channels)


def test_the_trivial_answer_is_the_mean_of_all_images():
    method, data = build().train(), batch()
    data["image"][:] = data["image"][:1]
    assert method(data)["trivial_loss"].item() == pytest.approx(0, abs=1e-6)
    trivial = method(batch(seed=1))["trivial_loss"].item()
    assert 0.5 < trivial < 1.5


def test_flat_patches_are_finite_and_nothing():
    method = build()
    assert not method.target(torch.full((1, 1, 64, 64), 0.3)).abs().max() > 1e-3
    assert torch.isfinite(method({"image": torch.zeros(2, 1, 1, 64, 64)})["loss"])


def test_same_seed_same_output_and_resumed_draws():
    one, other = build(), build(seed=1)
    losses = [one(batch())["loss"].item() for _ in range(2)]
    assert losses[0] != losses[1]
    assert other(batch())["loss"].item() != losses[0]
    resumed = build(seed=0)
    resumed.load_state_dict(one.state_dict())
    assert resumed(batch())["loss"].item() == one(batch())["loss"].item()


def test_it_learns():
    method = build(decoder_depth=1).train()
    optimizer = torch.optim.AdamW(method.parameters(), lr=1e-3)
    ramp = torch.linspace(0, 1, 64).expand(4, 1, 1, 64, 64) + 0.01 * torch.rand(4, 1, 1, 64, 64)
    losses = []
    for _ in range(15):
        loss = method({"image": ramp})["loss"]
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    assert losses[-1] < 0.6 * losses[0]


def test_half_precision_stays_finite():
    method = build(decoder_depth=1).train()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = method(batch())["loss"]
    loss.backward()
    assert loss.dtype is torch.float32
    assert all(torch.isfinite(value.grad).all() for value in method.parameters() if value.grad is not None)


def test_decoder_of_the_papers_proportions():
    method = build()  # 192 channels, 12 blocks
    assert method.decoder.channels == 96
    assert len(method.decoder.blocks) == 4
    assert MAEDecoder(1024, 256).channels == 512


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("resnet18", {}, "MAE works on the patches of a vision transformer"),
        ("tu-eva02_tiny_patch14_224", {}, "leaves patches out of the encoder"),
        (VIT, {"mask_ratio": 1.0}, "mask_ratio is 1.0"),
        (VIT, {"decoder_depth": 0}, "0 blocks"),
    ],
)
def test_faults(name, options, message):
    with pytest.raises(ConfigurationError, match=message):
        build(name, **options)


def test_images_of_one_patch():
    with pytest.raises(ConfigurationError, match=r"16 x 16 pixels cannot be cut into two or more patches of 16"):
        build()(batch(side=16))
