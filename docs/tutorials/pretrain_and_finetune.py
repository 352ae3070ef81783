# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""From images without labels to a classifier, in Python: draw images, divide, pretrain, fine-tune, compare, reuse.

    python docs/tutorials/pretrain_and_finetune.py [--folder FOLDER]

Runs in about a minute on one processor core, from the root of the repository. So short a training on so few phantoms
shows how the parts fit together, not what pretraining is worth: for that see docs/pretext_methods.md.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path

import segmentation_models_pytorch as smp
import torch
from monai.bundle import run

from monai_cxrssl.phantom import make_phantom_dataset

parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
parser.add_argument("--folder", help="where everything is written; default: a temporary folder")
parser.add_argument("--pretraining_epochs", type=int, default=4)
parser.add_argument("--patients", type=int, default=64)
options = parser.parse_args()
folder = Path(options.folder or tempfile.mkdtemp(prefix="cxrssl_"))
bundles = Path(__file__).parents[2] / "bundles"

# 1. Images. The phantom writes DICOM files, lung masks and a datalist that is divided by patient. With an archive of
#    your own, `python -m monai_cxrssl index` and `split` write such a datalist.
datalist = make_phantom_dataset(folder / "films", options.patients, size=96, images_per_patient=(1, 2), progress=False)
content = json.loads(datalist.read_text())
print({split: len(content[split]) for split in ("training", "validation", "test")}, content["classes"])

# 2. Options that both runs share. What stands on a command line as --name VALUE is a keyword argument here.
shared = {
    "datalist": str(datalist),
    "recipe": "short",
    "encoder_name": "resnet18",
    "image_size": 64,
    "num_workers": 0,
    "seed": 0,
}

# 3. Pretrain on the training images, without their labels.
run(
    config_file=str(bundles / "simclr" / "train.json"),
    bundle_root=str(bundles / "simclr"),
    output_dir=str(folder / "simclr"),
    model_path=str(folder / "simclr" / "model.pt"),
    max_epochs=options.pretraining_epochs,
    **shared,
)

# 4. Fine-tune with the labels, from the pretrained encoder and from random weights.
for start in ("pretrained", "random"):
    run(
        config_file=str(bundles / "classification" / "train.json"),
        bundle_root=str(bundles / "classification"),
        output_dir=str(folder / start),
        model_path=str(folder / start / "model.pt"),
        pretrained=str(folder / "simclr" / "model.pt") if start == "pretrained" else None,
        max_epochs=5,
        min_steps=1,
        **shared,
    )

# 5. What came out: the test split, scored once, each figure with an interval over patients.
for start in ("pretrained", "random"):
    metrics = json.loads((folder / start / "metrics.json").read_text())
    print(
        f"{start}: macro AUC {metrics['macro_auc']:.3f} "
        f"[{metrics['macro_auc_ci_low']:.3f}, {metrics['macro_auc_ci_high']:.3f}]"
    )

# 6. The pretrained encoder fills any model of segmentation-models-pytorch; only the decoder stays random.
unet = smp.Unet("resnet18", encoder_weights=None, in_channels=1)
result = unet.load_state_dict(torch.load(folder / "simclr" / "model.pt", weights_only=True), strict=False)
assert not any(name.startswith("encoder.") for name in result.missing_keys)
print(f"left random in the U-Net: {len(result.missing_keys)} tensors, none of the encoder. Everything is in {folder}")
