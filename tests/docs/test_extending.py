# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""The examples of docs/extending are short, shown whole, and do what their pages say."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil

import cv2
import numpy as np
import pytest
import torch

from monai_cxrssl.data import load_datalist, save_datalist
from monai_cxrssl.data.sources import registry
from monai_cxrssl.errors import DatalistError

EXAMPLES = {"method": "simsiam.py", "layout": "clinic_layout.py", "bundle": "simsiam_bundle.json"}


@pytest.fixture
def examples(repo, monkeypatch):
    folder = repo / "docs" / "extending" / "examples"
    monkeypatch.syspath_prepend(str(folder))
    return folder


@pytest.mark.parametrize(("page", "example"), EXAMPLES.items())
def test_example_is_short_and_shown(repo, examples, page, example):
    assert len((examples / example).read_text().splitlines()) < 60
    assert f"literalinclude}} examples/{example}" in (repo / "docs" / "extending" / f"{page}.md").read_text()


def make_clinic(folder, rows):
    (folder / "films").mkdir(parents=True)
    for person, film in (("p1", "a.png"), ("p1", "b.png"), ("p2", "a.png")):
        (folder / "films" / person).mkdir(exist_ok=True)
        cv2.imwrite(str(folder / "films" / person / film), np.full((20, 24), 90, np.uint8))
    (folder / "findings.csv").write_text("\n".join(["person,film,finding", *rows]) + "\n")
    return folder


class TestMethod:
    def test_one_epoch(self, repo, examples):
        """The page's own Python, with a loader of random views."""
        from simsiam import SimSiam

        from monai_cxrssl.networks import Encoder

        code = re.findall(r"```python\n(.*?)```", (repo / "docs/extending/method.md").read_text(), flags=re.DOTALL)
        assert len(code) == 1
        torch.manual_seed(0)
        untrained = SimSiam(Encoder("resnet18", in_channels=1)).state_dict()
        views = [{"image": torch.rand(4, 2, 1, 32, 32), "patient": torch.arange(4)} for _ in range(3)]
        torch.manual_seed(0)
        seen = {"loader": views}
        exec(compile(code[0], "docs/extending/method.md", "exec"), seen)
        method = seen["method"]
        changed = {name.split(".")[0] for name, value in method.named_parameters() if not value.equal(untrained[name])}
        assert changed == {"network", "projection_head", "predictor"}
        assert all(value.isfinite().all() for value in method.parameters())
        assert method.state_dict()["mean_projection"].any()

    def test_loss_is_that_of_the_paper(self, examples):
        """Minus the cosine, each view's prediction against the other's projection, in float64."""
        from simsiam import SimSiam

        from monai_cxrssl.networks import Encoder

        torch.manual_seed(0)
        method = SimSiam(Encoder("resnet18", in_channels=1)).double().eval()
        image = torch.rand(3, 2, 1, 32, 32, dtype=torch.float64)
        total = 0.0
        for one, other in ((0, 1), (1, 0)):
            predicted = method.predictor(method.projection_head(method.network(image[:, one])))
            target = method.projection_head(method.network(image[:, other]))
            cosine = (predicted * target).sum(1) / (predicted.norm(dim=1) * target.norm(dim=1))
            total -= cosine.mean().item() / 2
        output = method({"image": image})
        assert output["loss"].item() == pytest.approx(total, rel=1e-5)
        assert not output["embedding"].requires_grad


class TestLayout:
    def test_reads_the_folder(self, examples, tmp_path):
        import clinic_layout

        folder = make_clinic(tmp_path / "clinic", ["p1,a.png,none", "p1,b.png,pneumonia", "p2,a.png,"])
        assert clinic_layout.detect(folder)
        path = save_datalist(clinic_layout.read(folder), tmp_path / "d.json")
        datalist = load_datalist(path)
        assert datalist.classes == ("No Finding", "Pneumonia")
        assert datalist.patients == ["p1", "p2"]
        assert [item.get("label") for item in datalist.items("training")] == [0, 1, None]

    def test_joins_the_registry(self, examples, tmp_path, monkeypatch):
        import clinic_layout

        folder = make_clinic(tmp_path / "clinic", ["p1,a.png,none"])
        monkeypatch.setattr(registry, "LAYOUTS", {"clinic": clinic_layout, **registry.LAYOUTS})
        assert registry.find_layout(folder) == "clinic"
        assert registry.index_folder(folder).name == "Clinic"

    @pytest.mark.parametrize(
        ("rows", "expected"),
        [
            (["p1,a.png,none", "p1,b.png,broken arm"], r"other than none, pneumonia or blank: 'broken arm' \(row 3;"),
            ([",a.png,none"], r"row 2 .*person is empty"),
            (["p1,z.png,none"], r"row 2 "),
            (["p1,a.png,none", "p1,a.png,none"], r"row 3 "),
        ],
    )  # fmt: skip
    def test_refuses_bad_rows_by_number(self, examples, tmp_path, rows, expected):
        import clinic_layout

        with pytest.raises(DatalistError, match=expected):
            clinic_layout.read(make_clinic(tmp_path / "clinic", rows), strict_labels=True)


def run_of_page(repo, warm_python, folder, page, number, films):
    """Run a page's command in a copy of what it names, on few images, and return its output folder."""
    text = (repo / "docs/extending" / page).read_text()
    blocks = re.findall(r"^```bash\n(.*?)^```", text, flags=re.DOTALL | re.MULTILINE)
    # A block is one command. shlex with comments would end it at the # of --train#method, which no shell does.
    command = blocks[number].replace("\\\n", " ")
    for name in ("bundles/simclr", "docs/extending/examples"):
        shutil.copytree(repo / name, folder / name, ignore=shutil.ignore_patterns("runs", "*.pt", "__pycache__"))
    words = shlex.split(command)
    variables = dict(word.split("=", 1) for word in words[: words.index("python")])
    words = words[words.index("python") + 1 :]
    small = f"--datalist {films} --max_epochs 1 --image_size 64 --batch_size 8 --encoder_name resnet18"
    environment = variables | {"PYTHONPATH": _path(repo, variables)}
    result = warm_python.run([*words, *shlex.split(small)], folder, **environment)
    assert result.returncode == 0, result.stdout[-1500:] + result.stderr[-3000:]
    return folder / "OUT"


def _path(repo, variables):
    """The package, which may not be installed, behind what the page puts on the path."""
    return os.pathsep.join(filter(None, [variables.get("PYTHONPATH"), str(repo)]))


@pytest.fixture(scope="module")
def films(few_films):
    return few_films / "datalist.json"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("page", "number"), [("method.md", 0), ("bundle.md", 0), ("bundle.md", 1)], ids=["method", "override", "bundle"]
)
def test_command_of_page(repo, tmp_path, warm_python, films, page, number):
    out = run_of_page(repo, warm_python, tmp_path, page, number, films)
    metrics = json.loads((out / "metrics.json").read_text())
    assert metrics["epochs"] == 1
    assert np.isfinite(metrics["loss_last_epoch"])
    state = torch.load(out / "model.pt", weights_only=True)
    assert all(name.startswith("encoder.") for name in state)


def test_bundle_runs(repo, tmp_path, examples, films, monkeypatch):
    """The bundle of one JSON file, in this process; its command on the page is run by the slow tests."""
    from monai.bundle import ConfigParser

    parser = ConfigParser()
    parser.read_config(str(examples / "simsiam_bundle.json"))
    parser.update({"datalist": str(films), "output_dir": str(tmp_path / "out"), "max_epochs": 1, "batch_size": 8})
    parser.parse(True)
    parser.get_parsed_content("trainer").run()
    metrics = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert metrics["encoder_name"] == "resnet18"
    assert metrics["images"] == len(json.loads(films.read_text())["training"])
    assert (tmp_path / "out" / "model.patients.json").is_file()
