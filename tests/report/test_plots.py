# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import cv2
import numpy as np
import pytest

from monai_cxrssl.errors import DatalistError
from monai_cxrssl.metrics.calibration import reliability_diagram
from monai_cxrssl.metrics.cohort import Cohort
from monai_cxrssl.metrics.operating_point import choose_thresholds
from monai_cxrssl.report.plots import canvas as plot_canvas
from monai_cxrssl.report.plots.attention import draw_attention
from monai_cxrssl.report.plots.confusion import draw_confusion
from monai_cxrssl.report.plots.intervals import draw_intervals, draw_probes
from monai_cxrssl.report.plots.ranking import draw_ranking
from monai_cxrssl.report.plots.reliability import draw_reliability

# Names that a plot must neither read as a formula nor leave out of its legend.
NAMES = ["normal", r"$\frac{", "_hidden\n漢字 " + "long " * 20]


def scores(classes=3, films=80, seed=0):
    generator = np.random.default_rng(seed)
    label = (generator.random((films, classes)) < 0.4).astype(float)
    return 1 / (1 + np.exp(-generator.normal(label, 1))), label


@pytest.fixture
def figures(monkeypatch):
    """The figures that were drawn, to read what stands in them."""
    import matplotlib.figure

    made = []
    plain = matplotlib.figure.Figure.__init__
    monkeypatch.setattr(
        matplotlib.figure.Figure, "__init__", lambda self, *a, **k: (made.append(self), plain(self, *a, **k))[1]
    )
    return made


def texts(figure):
    import matplotlib.text

    return [text.get_text() for text in figure.findobj(matplotlib.text.Text) if text.get_text()]


def is_picture(path):
    pixels = cv2.imread(str(path))
    return pixels is not None and pixels.std() > 5 and list(path.parent.iterdir()) == [path]


def test_ranking(tmp_path, figures):
    from sklearn.metrics import average_precision_score, roc_auc_score

    score, label = scores()
    label[:5, 0] = np.nan
    cohort = Cohort.of(score, label, class_names=NAMES)
    points = choose_thresholds(cohort)
    path = tmp_path / "new" / "a.png"
    assert draw_ranking(cohort, path, {"Youden": points, "fixed": [0.5, np.nan, 0.5]})
    assert is_picture(path)
    legend = [text for text in texts(figures[0]) if "AUROC" in text]
    for column, words in enumerate(legend):
        known = ~np.isnan(label[:, column])
        area = roc_auc_score(label[known, column], score[known, column])
        precision = average_precision_score(label[known, column], score[known, column])
        assert words.endswith(f"AUROC {area:.3f}, AP {precision:.3f}")
    assert len(legend) == 3
    assert legend[1].startswith(r"$\frac{:")
    assert legend[2].startswith("_hidden")
    # A point lies where its threshold has these images; the first marks follow the chance line and the first curve.
    x, y = figures[0].axes[0].lines[2].get_data()
    known = ~np.isnan(label[:, 0])
    called, truth = score[known, 0] >= points[0].threshold, label[known, 0]
    assert (x[0], y[0]) == (called[truth == 0].mean(), called[truth == 1].mean())


def test_ranking_names_what_is_not_assessable(tmp_path, figures):
    score, label = scores(4)
    label[:, 0], score[0, 1], score[:, 2] = 1, np.nan, 0.5
    assert draw_ranking(Cohort.of(score, label, class_names="abcd"), tmp_path / "a.png")
    assert [text for text in texts(figures[0]) if "not assessable" in text] == [
        f"{name}: not assessable" for name in "abc"
    ]
    # One patient of the positives is too few, as in the tables.
    one = np.where(label[:, 3] == 1, 0, np.arange(len(label)) + 1)
    assert not draw_ranking(Cohort.of(score, label, one, "abcd"), tmp_path / "a.png")
    assert not (tmp_path / "a.png").exists()


@pytest.mark.parametrize("classes", [2, 30])
def test_ranking_of_class_numbers(tmp_path, classes):
    generator = np.random.default_rng(0)
    score, label = generator.dirichlet(np.ones(classes), 300), generator.integers(-1, classes, 300)
    cohort = Cohort.of(score, label, class_names=[f"class {c}" for c in range(classes)])
    assert draw_ranking(cohort, tmp_path / "a.png", [0.5] * classes)
    assert is_picture(tmp_path / "a.png")


def test_ranking_refuses_other_thresholds(tmp_path):
    score, label = scores()
    with pytest.raises(DatalistError, match="2 thresholds"):
        draw_ranking(Cohort.of(score, label), tmp_path / "a.png", [0.5, 0.5])


def test_reliability(tmp_path, figures):
    score, label = (part[:, 0] for part in scores())
    good = reliability_diagram(score, label, bins=5)
    mass = reliability_diagram(score, label, bins=4, binning="equal_mass")
    bad = reliability_diagram(score, np.ones_like(label))
    assert draw_reliability({"before": good, "mass": mass, "_after": bad}, tmp_path / "a.png")
    assert is_picture(tmp_path / "a.png")
    words = texts(figures[0])
    assert f"before: ECE {good.ece:.3f}" in words
    assert any(text.endswith("after: not assessable") for text in words)
    assert not draw_reliability({"after": bad}, tmp_path / "a.png")
    assert not (tmp_path / "a.png").exists()
    assert not draw_reliability({}, tmp_path / "a.png")


def test_reliability_of_all_right(tmp_path):
    # The ends of the Wilson interval may lie a rounding error inside the share.
    diagram = reliability_diagram([0.9, 0.95, 0.99], [1, 1, 1], both_kinds=False)
    assert draw_reliability({"all right": diagram}, tmp_path / "a.png")


@pytest.mark.parametrize("size", [1, 3, 8, 25])
def test_confusion(tmp_path, figures, size):
    matrix = np.random.default_rng(0).integers(1, 2000, (size, size)).astype(float)
    matrix[0] = 0 if size > 1 else 5
    names = (NAMES * 9)[:size]
    assert draw_confusion(matrix, names, tmp_path / "a.png")
    assert is_picture(tmp_path / "a.png")
    words = texts(figures[0])
    assert words.count("–") == (size if 1 < size <= 20 else 0)
    assert size not in (3, 8) or f"{matrix[1, 2]:,.0f}\n{100 * matrix[1, 2] / matrix[1].sum():.0f} %" in words


@pytest.mark.parametrize("matrix", [np.zeros((2, 2)), np.full((2, 2), np.nan)])
def test_confusion_of_nothing(tmp_path, matrix):
    (tmp_path / "a.png").write_bytes(b"of an earlier run")
    assert not draw_confusion(matrix, ["a", "b"], tmp_path / "a.png")
    assert not (tmp_path / "a.png").exists()


def test_confusion_refuses_other_shapes(tmp_path):
    with pytest.raises(DatalistError, match=r"\(2, 3\)"):
        draw_confusion(np.ones((2, 3)), ["a", "b"], tmp_path / "a.png")


@pytest.mark.parametrize("draw", [draw_intervals, draw_probes])
def test_intervals(tmp_path, figures, draw):
    nan = float("nan")
    rows = [("all", 0.8, 0.7, 0.9), (NAMES[1], nan, None, nan), (NAMES[2], 0.5, None, None), ("d", None, 0.1, 0.2)]
    assert draw(rows, tmp_path / "a.png", 0.5, xlabel="Dice")
    assert is_picture(tmp_path / "a.png")
    words = texts(figures[0])
    assert [words.count(text) for text in ("0.800 (0.700 to 0.900)", "0.500", "not assessable")] == [1, 1, 2]
    assert "Dice" in words
    assert not any("nan" in text for text in words)
    assert ("chance" in words) == (draw is draw_probes)


@pytest.mark.parametrize("draw", [draw_intervals, draw_probes])
@pytest.mark.parametrize("rows", [[], [("a", None, None, None)], [("a", float("nan"), 0.1, 0.2)]])
def test_intervals_of_nothing(tmp_path, draw, rows):
    assert not draw(rows, tmp_path / "a.png", 0.5)
    assert not (tmp_path / "a.png").exists()


@pytest.mark.parametrize("draw", [draw_intervals, draw_probes])
def test_intervals_without_line_and_of_one_value(tmp_path, draw):
    assert draw([("a", 1.0, 1.0, 1.0)], tmp_path / "a.png", None)
    assert is_picture(tmp_path / "a.png")
    assert draw([("a", None, None, None), ("b", 0.5, 0.4, 0.6)], tmp_path / "a.png", float("nan"))


def test_attention(tmp_path, figures):
    pfs, area = [0.5, 0.2, np.nan, 0.6, 0.3], [0.3, 0.3, 0.3, np.nan, 0.3]
    assert draw_attention(pfs, area, tmp_path / "a.png")
    assert is_picture(tmp_path / "a.png")
    # As much as the area is not more.
    assert "3 images, 33 % of them above chance" in texts(figures[0])
    assert not draw_attention([np.nan], [0.3], tmp_path / "a.png")
    assert not (tmp_path / "a.png").exists()
    assert not draw_attention([], [], tmp_path / "a.png")
    with pytest.raises(DatalistError, match="1 PFS and 2"):
        draw_attention([0.1], [0.1, 0.2], tmp_path / "a.png")


def test_lines_differ():
    styles = {tuple(map(str, plot_canvas.line_style(number).values())) for number in range(28)}
    assert len(styles) == 28
