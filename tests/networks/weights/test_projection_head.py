# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""The head of pretraining travels in the file of the encoder, unseen by who loads the encoder."""

from __future__ import annotations

import segmentation_models_pytorch as smp
import torch

from monai_cxrssl.handlers.model_files import store_description, write_model
from monai_cxrssl.networks import Encoder, ProjectionHead, load_trained_model
from monai_cxrssl.networks.weights.header import read_projection_head


def test_a_head_is_carried_along(tmp_path):
    encoder, head = Encoder("resnet18"), ProjectionHead(512, 32, 8, 3)
    path = tmp_path / "model.pt"
    description = {"encoder_name": "resnet18", "image_size": 64}
    write_model(encoder, path, description, None, projection_head=head)
    store_description(path, {**description, "note": "later"})
    found = read_projection_head(path)
    assert {name: value.shape for name, value in found.items()} == {
        name: value.shape for name, value in head.state_dict().items()
    }
    assert torch.equal(found["layers.0.weight"], head.layers[0].weight)
    state = torch.load(path, weights_only=True)
    assert set(state) == set(encoder.state_dict())
    encoder.load_state_dict(state, strict=True)
    unet = smp.Unet("resnet18", encoder_weights=None, in_channels=1)
    assert unet.load_state_dict(state, strict=False).unexpected_keys == []
    assert load_trained_model(path)[1]["note"] == "later"
    write_model(encoder, path, description, None)
    assert read_projection_head(path) == {}
