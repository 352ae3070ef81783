# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""``--tracking mlflow`` is all that a user types; what was logged is read back through MLflow."""

from __future__ import annotations

import json
import re

import pytest
import torch

mlflow = pytest.importorskip("mlflow")

SMALL = (
    "--recipe", "short", "--encoder_name", "resnet18", "--image_size", 32, "--batch_size", 8, "--max_epochs", 2,
    "--num_workers", 0,
)  # fmt: skip


@pytest.mark.parametrize(
    ("bundle", "more"),
    [
        ("simclr", ()),
        pytest.param("curricular", ("--tasks", "['rotation','simclr']"), marks=pytest.mark.slow),
        pytest.param("multitask", (), marks=pytest.mark.slow),
    ],
)
def test_a_run_is_read_back_from_mlflow(run_bundle, few_films, tmp_path, bundle, more):
    folder, uri = tmp_path / "out", f"sqlite:///{tmp_path}/runs.db"
    result = run_bundle(
        f"bundles/{bundle}/train.json", "--dataset_dir", few_films, "--output_dir", folder, "--model_path",
        folder / "model.pt", *SMALL, *more, "--tracking", "mlflow", "--tracking_uri", uri,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr[-3000:]
    metrics = json.loads((folder / "metrics.json").read_text())
    client = mlflow.MlflowClient(uri)
    (experiment,) = [one for one in client.search_experiments() if one.name == "monai_experiment"]
    (run,) = client.search_runs([experiment.experiment_id])
    assert run.info.status == "FINISHED"
    params, last = run.data.params, run.data.metrics
    assert (params["encoder_name"], params["image_size"], params["seed"]) == ("resnet18", "32", "0")
    assert torch.load(params["model_path"], weights_only=True)

    def history(name: str) -> list:
        return sorted(client.get_metric_history(run.info.run_id, name), key=lambda point: point.step)

    loss = history("loss")
    assert [point.step for point in loss] == [1, 2]
    assert [loss[0].value, loss[-1].value] == [metrics["loss_first_epoch"], metrics["loss_last_epoch"]]
    iterations = history("train_loss")
    assert [point.step for point in iterations] == list(range(1, len(iterations) + 1))
    assert sum(point.value for point in iterations) / len(iterations) == pytest.approx(
        (loss[0].value + loss[1].value) / 2, rel=1e-5
    )
    assert len(history("lr_group_0")) == len(iterations)
    assert last["learning_rate"] >= 0
    assert last["result/loss_last_epoch"] == metrics["loss_last_epoch"]
    names = {file.path for file in client.list_artifacts(run.info.run_id)}
    (config,) = folder.glob("config_*.json")
    assert names == {"curves.png", config.name}
    plot = client.download_artifacts(run.info.run_id, "curves.png", str(tmp_path))
    assert (tmp_path / "curves.png").read_bytes() == (folder / "curves.png").read_bytes(), plot
    if bundle == "multitask":
        assert last["result/macro_auc"] == metrics["macro_auc"]
        scores = {point.step: point.value for point in history("val_score")}
        assert scores == {point.step: point.value for point in history("score")}
        assert scores[metrics["best_epoch"]] == metrics["val_score"]


def test_weights_and_biases_by_the_line_of_the_docs(run_bundle, repo, few_films, tmp_path):
    pytest.importorskip("wandb")
    line = json.loads(re.search(r"```json\n(.*?)\n```", (repo / "docs/tracking.md").read_text(encoding="utf-8"))[1])
    line["+train#handlers"][0]["logger"]["dir"] = str(tmp_path)
    (tmp_path / "wandb.json").write_text(json.dumps(line))
    result = run_bundle(
        f"['bundles/simclr/configs/train.json','{tmp_path}/wandb.json']", "--dataset_dir", few_films, "--output_dir",
        tmp_path, "--model_path", tmp_path / "model.pt", *SMALL,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr[-3000:]
    (written,) = (tmp_path / "wandb").glob("offline-run-*/run-*.wandb")
    assert written.read_bytes().count(b"epoch/loss") >= 2


@pytest.mark.parametrize(
    ("uri", "sentence"),
    [("/tmp/runs", "MLflow no longer supports the filesystem"), ("file:///tmp/runs", "Use a SQLite")],
)
def test_a_folder_as_store_is_refused_in_one_sentence(run_bundle, few_films, tmp_path, uri, sentence):
    result = run_bundle(
        "bundles/simclr/train.json", "--dataset_dir", few_films, "--output_dir", tmp_path, "--model_path",
        tmp_path / "model.pt", *SMALL, "--tracking", "mlflow", "--tracking_uri", uri,
    )  # fmt: skip
    assert result.returncode == 1
    assert sentence in result.stderr.splitlines()[-1]
    assert "Traceback" not in result.stderr
    assert not (tmp_path / "model.pt").exists()
