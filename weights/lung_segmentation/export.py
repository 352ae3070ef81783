# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Shipped form of trained lung segmentation weights: safetensors with float16 values and their description.

Run it from the root of the repository on the folder that ``train.py`` wrote::

    python -m weights.lung_segmentation.export OUT
"""

from __future__ import annotations

import sys
from pathlib import Path

from monai_cxrssl.data import load_datalist, measure_training_range, open_images, write_training_patients
from monai_cxrssl.data.stores.small_film import decoded_side
from monai_cxrssl.files import atomic_write, sha256
from monai_cxrssl.networks import MultiTaskNet, load_exactly, read_weights
from monai_cxrssl.networks.description import described_encoder
from monai_cxrssl.networks.weights.header import safetensors_header
from weights.lung_segmentation.train import NETWORK, STAGES, best_weights

TARGET = Path("bundles/lung_segmentation/weights/lungs.safetensors")


def main() -> None:
    """Write the weights, with their description inside, and the hashes of the patients that they have seen."""
    from safetensors.torch import save_file

    folder, size = Path(sys.argv[1]), STAGES[-1][0]
    network = MultiTaskNet(**NETWORK)
    trained = best_weights(folder, len(STAGES) - 1)
    load_exactly(network, read_weights(trained), str(trained), "Is it of another version of the script?")
    datalist = load_datalist(folder / "datalist.json")
    films = datalist.items("training")
    training_range = measure_training_range(open_images(films, decoded_side(size)), image_size=size)
    assert training_range is not None
    description = {
        **described_encoder(network), "image_size": size, "classes": [], "task": datalist.task,
        "decoder": NETWORK["decoder"], "mask": "lung", "mask_channels": 1, "training_range": training_range.to_dict(),
    }  # fmt: skip
    weights = {
        name: (value.half() if value.is_floating_point() else value).contiguous()
        for name, value in network.state_dict().items()
    }
    TARGET.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(TARGET) as partial:
        save_file(weights, partial, metadata=safetensors_header(description))
    write_training_patients([*films, *datalist.items("validation")], TARGET, datalist.name)
    print(f"{TARGET}: {TARGET.stat().st_size / 1e6:.2f} MB, sha256 {sha256(TARGET)}")


if __name__ == "__main__":
    main()
