# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Every public form of weights gives the features of its own library, and stands in the docs."""

from __future__ import annotations

import re

import pytest
import torch

from monai_cxrssl.networks import Encoder, Normalisation, read_weights
from monai_cxrssl.networks.weights.loading import stem_channels

from .formats import FORMATS

# Values of its own for each channel keep a stem of three; one for all lets it be summed. Files take turns.
NORMALISATIONS = ("imagenet", [0.45, 0.27])


@pytest.mark.parametrize(
    ("form", "number"), [pytest.param(form, number, id=form.id) for number, form in enumerate(FORMATS)]
)
def test_features_of_the_source(form, number, tmp_path, caplog):
    torch.manual_seed(5)
    path = tmp_path / form.file
    source = form.make(path)
    normalisation = Normalisation.of(NORMALISATIONS[number % 2 if source.channels == 3 else 1])
    with caplog.at_level("INFO"):
        encoder = Encoder(
            source.encoder_name,
            pretrained=path,
            encoder_arguments=source.arguments,
            input_normalisation=normalisation.as_option(),
        ).eval()
    image = torch.rand(1, 1, source.side, source.side)
    mean, std = (torch.tensor(values).view(1, -1, 1, 1) for values in (normalisation.mean, normalisation.std))
    with torch.no_grad():
        expected = source.features((image.expand(-1, source.channels, -1, -1) - mean) / std)
        found = encoder.feature_map(image)
    assert found.shape == expected.shape
    assert (found - expected).abs().max() < 1e-5 * expected.abs().max()
    assert expected.std() > 1e-3
    assert " 0 missing" in caplog.text
    if normalisation.channels == 1:
        assert stem_channels(read_weights(path), encoder.encoder) == source.channels


def test_the_docs_list_what_is_tested(repo):
    page = (repo / "docs" / "weights.md").read_text(encoding="utf-8")
    rows = [f"| {form.source} | {form.form} | {form.recognised} | `{form.id}` |" for form in FORMATS]
    assert [line for line in page.splitlines() if re.fullmatch(r"\|.*\| `[\w-]+` \|", line)] == rows
