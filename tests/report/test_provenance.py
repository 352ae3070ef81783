# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import hashlib
import json
from importlib import metadata

import pytest
import torch

from monai_cxrssl.data import write_training_patients
from monai_cxrssl.data.audit.audit import AuditResult, Finding
from monai_cxrssl.data.datalists.datalist import Datalist
from monai_cxrssl.data.datalists.split import save_split
from monai_cxrssl.errors import ConfigurationError
from monai_cxrssl.handlers.model_files import store_description
from monai_cxrssl.report.provenance import (
    bundle_metadata,
    collect_provenance,
    data_manifest,
    library_versions,
    split_audit,
)


def items(folder, *patients, film="first"):
    return [{"image": str(folder / f"{patient}-{film}.png"), "patient_id": patient, "label": 0} for patient in patients]


def datalist(folder, training="ab", validation="c", test="de"):
    splits = {
        "training": items(folder, *training),
        "validation": items(folder, *validation),
        "test": items(folder, *test, film="second"),
    }
    save_split(Datalist(name="films", classes=("ill",), splits=splits), folder / "films.json", {"seed": 3})
    return folder / "films.json"


def test_manifest(tmp_path):
    path = datalist(tmp_path)
    found = data_manifest(path)
    assert (found["name"], found["unchanged"], found["recipe"]) == ("films", True, {"seed": 3})
    assert found["sha256"] == found["stated_sha256"]
    assert found["splits"]["test"]["images"] == 2
    content = json.loads(path.read_text())
    content["test"].pop()
    path.write_text(json.dumps(content))
    assert data_manifest(path)["unchanged"] is False
    del content["manifest"]
    path.write_text(json.dumps(content))
    assert (data_manifest(path)["stated_sha256"], data_manifest(path)["unchanged"]) == (None, None)


@pytest.mark.parametrize(("test", "leaks"), [("de", None), ("ad", 1), ("abc", 3)])
def test_leaks_between_splits(tmp_path, test, leaks):
    # A clean datalist does not say what the weights were trained on.
    found = split_audit(datalist(tmp_path, test=test))
    assert found["leaks"] == leaks
    assert len(found["findings"]) == (leaks or 0)


@pytest.mark.parametrize(("trained", "leaks"), [("xy", 0), ("xe", 1), ("de", 2)])
def test_leaks_from_training(tmp_path, trained, leaks):
    path = datalist(tmp_path)
    weights = tmp_path / "model.pt"
    write_training_patients(items(tmp_path, *trained), weights, name="films")
    found = split_audit(path, weights=weights)
    assert found["leaks"] == leaks == len(found["findings"])
    assert "compared with those of training" in found["checked"][1]


def test_what_was_not_looked_at_is_no_clean_bill(tmp_path):
    found = split_audit()
    assert found["leaks"] is None
    assert len(found["checked"]) == 2
    found = split_audit(items=items(tmp_path, "a"), weights=tmp_path / "model.pt")
    assert found["leaks"] is None
    assert "no list of them" in found["checked"][1]


def test_full_audit_counts_its_leaks_and_only_those(tmp_path):
    findings = [Finding("near_duplicate", "leak", ("a", "b"), f"Pair {k}.") for k in range(25)]
    findings.append(Finding("inverted", "warning", ("a",), "Looks inverted."))
    found = split_audit(datalist(tmp_path), audit=AuditResult(5, tuple(findings)))
    assert found["leaks"] == 25
    assert found["findings"][-1] == "And 5 more."
    assert "Looks inverted." not in found["findings"]


def test_everything_together_is_plain_json(tmp_path):
    weights = tmp_path / "model.pt"
    weights.write_bytes(b"weights")
    bundle = tmp_path / "bundle"
    (bundle / "configs").mkdir(parents=True)
    (bundle / "configs" / "metadata.json").write_text('{"name": "Lungs", "version": "0.2.0"}')
    found = collect_provenance(datalist(tmp_path), None, weights, bundle, seed=7, command=["python", "-m", "a b"])
    json.dumps(found, allow_nan=False)
    assert found["bundle"] == {"name": "Lungs", "version": "0.2.0"}
    digest = hashlib.sha256(b"weights").hexdigest()
    assert found["weights"] == {"file": "model.pt", "sha256": digest, "tensors_sha256": None}
    torch.save({"weight": torch.ones(2)}, weights)
    told = collect_provenance(weights=weights)["weights"]
    store_description(weights, {"encoder_name": "resnet18"})
    again = collect_provenance(weights=weights)["weights"]
    assert told["sha256"] != again["sha256"]
    assert told["tensors_sha256"] == again["tensors_sha256"]
    assert found["command"] == "python -m 'a b'"
    assert found["seed"] == 7
    bare = collect_provenance()
    assert [bare[key] for key in ("data", "weights", "bundle", "seed")] == [None] * 4
    assert bare["command"]


def test_versions():
    versions = library_versions()
    assert versions["torch"] == metadata.version("torch")
    assert next(iter(versions)) == "monai_cxrssl"


@pytest.mark.parametrize(
    ("content", "words"), [(None, "no metadata.json"), ("{", "cannot be read"), ("[]", "no JSON object")]
)
def test_bundle_without_metadata(tmp_path, content, words):
    if content is not None:
        (tmp_path / "metadata.json").write_text(content)
    with pytest.raises(ConfigurationError, match=words):
        bundle_metadata(tmp_path)


def test_missing_weights(tmp_path):
    with pytest.raises(ConfigurationError, match="cannot be read"):
        collect_provenance(weights=tmp_path / "none.pt")
