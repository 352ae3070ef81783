# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""The sheet of what was left out: every reason, its examples, none of their names."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from monai_cxrssl.apps.cli.main import main
from monai_cxrssl.data.audit.left_out_sheet import draw_left_out, drawn_examples, left_out_rows
from monai_cxrssl.data.datalists.datalist import load_datalist
from monai_cxrssl.errors import ConfigurationError
from tests.data.sources.chest_film.archive import dicom, grey, lungs, picture
from tests.data.sources.chest_film.test_objects import colour, report


@pytest.fixture
def archive(tmp_path):
    root = tmp_path / "archive"
    for n in range(5):
        dicom(root / "Doe" / f"{n}.dcm", grey(n))
        # No image has its name, so that none joins it.
        picture(root / "masks" / f"lungs{n}.png", lungs())
    picture(root / "masks" / "film.png", grey(7))
    dicom(root / "Doe" / "capture.dcm", colour(True))
    dicom(root / "Doe" / "cine.dcm", np.concatenate([grey(1), lungs()]), NumberOfFrames=2, Rows=96)
    dicom(root / "Doe" / "broken.dcm", grey(2), Modality="CT")
    content = (root / "Doe" / "broken.dcm").read_bytes()
    (root / "Doe" / "broken.dcm").write_bytes(content[:-5000])
    report(root / "Doe" / "report.dcm", "1.2.840.10008.5.1.4.1.1.104.1", Modality="OT")
    return root


def test_sheet(archive, tmp_path, capsys):
    out, sheet = tmp_path / "d.json", archive / "sheet.png"
    assert main(["index", str(archive), "--out", str(out)]) == 0
    datalist = load_datalist(out)
    kinds = [kind for kind, _ in drawn_examples(datalist, 3)]
    assert kinds == ["modality", "colour", "frames", "mask", "mask", "mask", "mask?"]
    rows, notes = left_out_rows(datalist, count=3)
    cells = [cell for row in rows for cell in row]
    texts = [text for cell in cells for text in (cell.title, cell.text, cell.fault)]
    assert not any("Doe" in text or ".png" in text for text in texts)
    assert any("masks: 5" in text for text in texts)
    assert "DICOM objects without pixels: 1 (Encapsulated PDF Storage 1)" in notes
    drawn = [cell.picture for cell in cells if cell.picture is not None]
    assert len(drawn) == 6
    assert any("cannot be drawn" in text for text in texts)
    red, first_frame = drawn[0], drawn[1]
    assert red.shape == (64, 64, 3)
    assert (red[5, :, 0] == 255).all()
    # The second frame is a mask.
    assert len(np.unique(first_frame)) > 2
    capsys.readouterr()
    assert main(["show", str(out), "--left_out", "--count", "3", "--out", str(sheet)]) == 0
    listed = capsys.readouterr().out.splitlines()
    assert listed[3].split() == ["4", "mask", str(archive / "masks" / "lungs0.png")]
    assert Image.open(sheet).size[0] > 300
    # The sheet itself is no image.
    assert main(["index", str(archive), "--out", str(out)]) == 0
    assert load_datalist(out).summary()["left_out"]["own_output"] == 1


def test_nothing_left_out(tmp_path, capsys):
    picture(tmp_path / "films" / "a.png", grey(0))
    assert main(["index", str(tmp_path / "films"), "--out", str(tmp_path / "d.json")]) == 0
    assert main(["show", str(tmp_path / "d.json"), "--left_out", "--out", str(tmp_path / "s.png")]) == 0
    assert "names nothing that was left out; no picture" in capsys.readouterr().out
    assert not (tmp_path / "s.png").exists()
    with pytest.raises(ConfigurationError, match="count is 0"):
        draw_left_out(load_datalist(tmp_path / "d.json"), count=0)
    with pytest.raises(ConfigurationError, match="nothing that was left out"):
        draw_left_out(load_datalist(tmp_path / "d.json"))
