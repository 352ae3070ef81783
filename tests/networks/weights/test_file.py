# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""What is no file of weights, a sentence each, and what a description inside one leaves as it was."""

from __future__ import annotations

import json
import re
import zipfile
from collections import OrderedDict

import pytest
import segmentation_models_pytorch as smp
import torch
from ignite.engine import Engine
from monai.handlers import CheckpointLoader
from monai.networks.utils import copy_model_state
from safetensors.torch import save_file

from monai_cxrssl.errors import ConfigurationError
from monai_cxrssl.networks import MultiTaskNet
from monai_cxrssl.networks.weights.containers import read_weights
from monai_cxrssl.networks.weights.header import put_description, read_header, safetensors_header, tensors_sha256

ABOUT = {"encoder_name": "resnet18", "classes": ["a", "b"], "temperature": 1.5}


class Payload:
    """A pickle that would leave a file if it were loaded unsafely."""

    def __init__(self, path) -> None:
        self.path = str(path)

    def __reduce__(self):
        return open, (self.path, "w")


def lfs_pointer(path):
    path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n")


def web_page(path):
    path.write_text("\n<!DOCTYPE html>\n<html><body>Sign in</body></html>")


def other_zip(path):
    with zipfile.ZipFile(path, "w") as archive:
        for name in ("scans/1.dcm", "readme.txt"):
            archive.writestr(name, "text")


def whole_module(path):
    torch.save(smp.Unet("resnet18", encoder_weights=None), path)


def old_whole_module(path):
    torch.save(torch.nn.Linear(2, 2), path, _use_new_zipfile_serialization=False)


def script(path):
    torch.jit.script(torch.nn.Linear(2, 2)).save(path)


def cut_off(path):
    torch.save({"weight": torch.zeros(9999)}, path)
    path.write_bytes(path.read_bytes()[:5000])


def cut_off_safetensors(path):
    save_file({"weight": torch.zeros(9999)}, path)
    path.write_bytes(path.read_bytes()[:5000])


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lfs_pointer, "is a pointer of git LFS .* `git lfs pull`"),
        (web_page, "is a web page .* download it again, signed in"),
        (lambda path: path.touch(), r"is empty \(0 bytes\)"),
        (lambda path: path.mkdir(), "is a folder; give the file of weights in it"),
        (lambda path: path.write_bytes(b"\x08\x08\x12\x07pytorch"), "is no file of weights: it begins with"),
        (lambda path: path.write_text("PatientID,label\n"), "is no file of weights: it begins with b'PatientID"),
        (other_zip, r"is an archive of other files \(scans/1.dcm, readme.txt\) .* unpack it"),
        (whole_module, r"pickle of more than tensors \(segmentation_models_pytorch\.\S+\)"),
        (old_whole_module, r"pickle of more than tensors \(torch\.nn\.modules\.linear\.Linear\)"),
        (
            lambda path: torch.save({"w": torch.zeros(2), "x": Payload(path.parent / "ran")}, path),
            "pickle of more than",
        ),
        (script, "is a TorchScript program and no state dict"),
        (cut_off, r"is cut off or damaged \(5000 bytes\)"),
        (cut_off_safetensors, r"is cut off or damaged \(5000 bytes\)"),
        (lambda path: torch.save([torch.zeros(2)], path), "holds no named tensors"),
        (lambda path: torch.save({"epoch": 3}, path), "holds no named tensors"),
    ],
)
@pytest.mark.parametrize("read", [read_weights, read_header])
def test_what_is_no_weights_is_one_sentence(tmp_path, make, words, read):
    path = tmp_path / "model.pt"
    make(path)
    with pytest.raises(ConfigurationError, match=words) as raised:
        read(path)
    told = str(raised.value)
    assert told.startswith(str(path))
    assert "\n" not in told
    assert not re.search("weights_only|unsafe|allowlist|safe_globals", told)
    assert not (tmp_path / "ran").exists()


def described(path, content):
    torch.save(put_description(content, ABOUT), path)
    return path


def test_strict_loaders_see_only_tensors(tmp_path):
    """torch, smp and MONAI load the file as if no description were in it."""
    network = MultiTaskNet("resnet18", num_classes=2, decoder="Unet")
    path = described(tmp_path / "model.pt", network.state_dict())
    state = torch.load(path, weights_only=True)
    assert list(state) == list(network.state_dict())
    assert all(isinstance(value, torch.Tensor) for value in state.values())
    unet = smp.Unet("resnet18", encoder_weights=None, in_channels=1, aux_params={"classes": 2})
    unet.load_state_dict(state, strict=True)
    other = MultiTaskNet("resnet18", num_classes=2, decoder="Unet")
    _, changed, unchanged = copy_model_state(other, state)
    assert len(changed) == len(state)
    assert unchanged == []
    assert all(torch.equal(value, other.state_dict()[name]) for name, value in network.state_dict().items())


def test_checkpoint_loader_of_monai(tmp_path):
    network, other = (MultiTaskNet("resnet18", num_classes=2, decoder=None) for _ in range(2))
    path = described(tmp_path / "model.pt", network.state_dict())
    engine = Engine(lambda engine, batch: None)
    CheckpointLoader(str(path), {"model": other}, strict=True).attach(engine)
    engine.run([0])
    assert all(torch.equal(value, other.state_dict()[name]) for name, value in network.state_dict().items())


def test_a_copy_by_torch_keeps_the_description(tmp_path):
    path = described(tmp_path / "model.pt", {"weight": torch.ones(3)})
    torch.save(torch.load(path, weights_only=True), tmp_path / "copy.pt")
    assert read_header(tmp_path / "copy.pt") == (["weight"], ABOUT)
    torch.save(dict(torch.load(path, weights_only=True)), tmp_path / "bare.pt")
    assert read_header(tmp_path / "bare.pt") == (["weight"], None)


@pytest.mark.parametrize("modern", [True, False])
def test_a_checkpoint_keeps_what_else_it_holds(tmp_path, modern):
    content = {"epoch": 3, "state_dict": {"weight": torch.ones(3)}, "optimizer": {"state": {0: torch.zeros(1)}}}
    torch.save(put_description(content, ABOUT), tmp_path / "c.pt", _use_new_zipfile_serialization=modern)
    assert read_header(tmp_path / "c.pt") == (["weight"], ABOUT)
    read = torch.load(tmp_path / "c.pt", weights_only=True)
    assert list(read) == list(content)
    assert read["epoch"] == 3
    assert torch.equal(read["optimizer"]["state"][0], torch.zeros(1))


def test_versions_of_modules_stay(tmp_path):
    state = torch.nn.BatchNorm2d(2).state_dict()
    assert put_description(state, ABOUT)._metadata == state._metadata


def test_safetensors(tmp_path):
    save_file({"weight": torch.ones(3)}, tmp_path / "m.safetensors", metadata=safetensors_header(ABOUT))
    assert read_header(tmp_path / "m.safetensors") == (["weight"], ABOUT)
    save_file({"weight": torch.ones(3)}, tmp_path / "renamed.pt")
    assert read_header(tmp_path / "renamed.pt") == (["weight"], None)
    assert torch.equal(read_weights(tmp_path / "renamed.pt")["weight"], torch.ones(3))


def test_a_description_that_is_none(tmp_path):
    state = OrderedDict(weight=torch.ones(3))
    state.monai_cxrssl_description = "resnet18"
    torch.save(state, tmp_path / "m.pt")
    with pytest.raises(ConfigurationError, match="a description that is none"):
        read_header(tmp_path / "m.pt")
    with pytest.raises(ValueError, match="JSON"):
        put_description({"weight": torch.ones(3)}, {"temperature": float("nan")})


def test_the_digest_is_of_the_tensors(tmp_path):
    weights = {"a": torch.randn(3, 2), "n": torch.tensor(4), "h": torch.randn(5).bfloat16()}
    torch.save(weights, tmp_path / "bare.pt")
    torch.save(dict(reversed(weights.items())), tmp_path / "turned.pt")
    described(tmp_path / "described.pt", weights)
    save_file(weights, tmp_path / "other.safetensors")
    torch.save({**weights, "a": weights["a"].reshape(2, 3)}, tmp_path / "shape.pt")
    torch.save({**weights, "n": torch.tensor(5)}, tmp_path / "value.pt")
    names = ("bare.pt", "turned.pt", "described.pt", "other.safetensors", "shape.pt", "value.pt")
    digests = [tensors_sha256(tmp_path / name) for name in names]
    assert len(set(digests[:4])) == 1
    assert len(set(digests)) == 3


def test_the_description_is_plain_json(tmp_path):
    path = tmp_path / "m.pt"
    torch.save(put_description({"w": torch.ones(1)}, {"classes": ("a", "b"), "range": {"low": 0.1}}), path)
    assert read_header(path)[1] == json.loads('{"classes": ["a", "b"], "range": {"low": 0.1}}')
