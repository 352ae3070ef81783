# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""The reader, the views and the masks in a MONAI pipeline of one's own, without bundles or trainers of this package.

    python docs/tutorials/reuse_transforms.py [--folder FOLDER]

Runs in seconds on one processor core.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import torch
from monai.data import DataLoader, Dataset
from monai.transforms import Compose, LoadImaged, RandGaussianNoised

from monai_cxrssl.data import load_datalist, patient_numbers
from monai_cxrssl.losses import MaskedReconstructionLoss, NTXentLoss
from monai_cxrssl.networks import Encoder
from monai_cxrssl.phantom import make_phantom_dataset
from monai_cxrssl.transforms import GroupMask, LoadCXR, LoadCXRd, LoadLungMaskd, MultiViewd, ResizeCXRd

parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
parser.add_argument("--folder", help="where the images are written; default: a temporary folder")
options = parser.parse_args()
folder = Path(options.folder or tempfile.mkdtemp(prefix="cxrssl_"))

torch.manual_seed(0)
items = load_datalist(make_phantom_dataset(folder / "films", patients=8, size=128, progress=False)).all_items()

# 1. One convention for every file: (1, H, W), float32 in [0, 1], rows first, upright, bright is dense.
path = items[0]["image"]
image = LoadCXR()(path)
same = LoadImaged(keys="image", reader="monai_cxrssl.data.CXRReader", ensure_channel_first=True)({"image": path})
print(f"{Path(path).name}: {tuple(image.shape)}, {image.min():.2f} to {image.max():.2f}")
assert torch.equal(image.as_tensor(), same["image"].as_tensor())

# 2. A supervised pipeline: these dictionary transforms stand beside MONAI's own.
supervised = Compose(
    [
        LoadCXRd(keys="image"),
        LoadLungMaskd(keys="lung_mask"),
        ResizeCXRd(keys="image", mask_keys="lung_mask", size=64),
        RandGaussianNoised(keys="image", prob=0.5, std=0.02),
    ]
)
wanted = [{key: item[key] for key in ("image", "lung_mask", "label")} for item in items]
batch = next(iter(DataLoader(Dataset(wanted, supervised), batch_size=4)))
print("supervised:", tuple(batch["image"].shape), tuple(batch["lung_mask"].shape), batch["label"].tolist())

# 3. Contrastive views for a training loop of your own. Images of one patient are no negatives of each other.
views = Compose([LoadCXRd(keys="image"), MultiViewd(keys="image", size=64, num_views=2, rotation=10)])
numbered = [
    {"image": item["image"], "patient": number}
    for item, number in zip(items, patient_numbers(items).tolist(), strict=True)
]
encoder = Encoder("resnet18", in_channels=1)
head = torch.nn.Linear(encoder.out_channels, 128)
optimizer = torch.optim.AdamW([*encoder.parameters(), *head.parameters()], lr=1e-4)
contrast = NTXentLoss(temperature=0.2)
loader = DataLoader(Dataset(numbered, views), batch_size=8, shuffle=True, drop_last=True)
for epoch in range(2):
    for batch in loader:
        pair = batch["image"].as_tensor()  # (B, 2, 1, 64, 64)
        first, second = (head(encoder(pair[:, view])) for view in (0, 1))
        loss = contrast(first, second, batch["patient"])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    print(f"epoch {epoch}: NT-Xent of the last batch {loss.item():.3f}")

# 4. Masks for reconstruction: what is corrupted, and a loss on exactly that.
films = pair[:, 0]
corrupted, mask = GroupMask(patch_size=8)(films, torch.Generator().manual_seed(0))
assert torch.equal(corrupted.masked_select(~mask), films.masked_select(~mask))
error = MaskedReconstructionLoss("l1")(corrupted, films, mask)
print(f"group mask: {mask.float().mean():.0%} of the pixels corrupted, mean absolute difference there {error:.3f}")
