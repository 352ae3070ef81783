# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""The table of docs/known_weights.md is the package's own."""

from __future__ import annotations

from monai_cxrssl.networks.weights.known import known_weights

HEAD = [
    "| name | encoder | input | px | supervision | trained on | licence |",
    "|---|---|---|---|---|---|---|",
]


def known_table() -> list[str]:
    """Return the lines that the page must have."""
    lines = list(HEAD)
    for row in known_weights():
        encoder = f"`{row.encoder_name}`" if row.encoder_name else "none here"
        encoder += "".join(f" {name}={value}" for name, value in row.encoder_arguments.items())
        facts = [row.image_size, row.supervision, ", ".join(row.trained_on or ()), row.licence]
        cells = [
            f"[`{row.name}`]({row.page})",
            encoder,
            str(row.normalisation.name),
            *(str(f or "not known") for f in facts),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def test_the_page_has_every_row(repo):
    text = (repo / "docs" / "known_weights.md").read_text(encoding="utf-8")
    assert [line for line in text.splitlines() if line.startswith("|")] == known_table()
