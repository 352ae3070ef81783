# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Every public form of weights gives the features of its own library, and stands in the docs."""

from __future__ import annotations

import re

import pytest
import torch

from monai_cxrssl.networks import Encoder, load_encoder_weights, read_weights
from monai_cxrssl.networks.weights.loading import stem_channels

from .formats import FORMATS


@pytest.mark.parametrize("form", [pytest.param(form, id=form.id) for form in FORMATS])
def test_features_of_the_source(form, tmp_path, caplog):
    torch.manual_seed(5)
    path = tmp_path / form.file
    source = form.make(path)
    with caplog.at_level("INFO"):
        encoder = Encoder(source.encoder_name, encoder_arguments=source.arguments).eval()
        account = load_encoder_weights(encoder.encoder, path)
    image = torch.rand(1, 1, source.side, source.side)
    with torch.no_grad():
        expected = source.features(image.expand(-1, source.channels, -1, -1))
        found = encoder.feature_map(image)
    assert found.shape == expected.shape
    assert (found - expected).abs().max() < 1e-5 * expected.abs().max()
    assert expected.std() > 1e-3
    assert account.missing == ()
    assert account.sentence in caplog.text
    assert stem_channels(read_weights(path), encoder.encoder) == source.channels


def test_the_docs_list_what_is_tested(repo):
    page = (repo / "docs" / "weights.md").read_text(encoding="utf-8")
    rows = [f"| {form.source} | {form.form} | {form.recognised} | `{form.id}` |" for form in FORMATS]
    assert [line for line in page.splitlines() if re.fullmatch(r"\|.*\| `[\w-]+` \|", line)] == rows
