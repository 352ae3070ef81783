# Copyright (c) monai_cxrssl contributors
# SPDX-License-Identifier: Apache-2.0
"""Draw what each pretext method shows its network, on phantom images, by the package's own transforms and methods.

    python docs/make_method_figures.py [--output docs/images/methods] [--seed 0]

Views have the crop, rotation and jitter of the bundle's recipe for real data.
"""

from __future__ import annotations

import argparse
import io
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from monai_cxrssl.methods import MAE, Jigsaw, Rotation
from monai_cxrssl.networks import Encoder
from monai_cxrssl.transforms import GroupMask, InpaintHoles, MultiView
from monai_cxrssl.transforms.corruptions.group_mask import draw_blocks

BUNDLES = Path(__file__).parents[1] / "bundles"
SIDE = 224
PATCH = 16
FULL_FILM = {"scale": [1, 1], "ratio": [1, 1], "rotation": 0, "flip_prob": 0, "jitter_prob": 0}

#: A picture's panel: title, image ``(H, W)`` in [0, 1] or RGB ``(H, W, 3)``.
Panel = tuple[str, np.ndarray]


class Films:
    """Phantom patients, drawn when asked for."""

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def film(self, index: int, number: int = 0, label: int = 0) -> tuple[np.ndarray, np.ndarray]:
        """Return image ``(1, H, W)`` uint8 and lung mask ``(1, H, W)`` uint8 of a patient's image."""
        from monai_cxrssl.phantom.patient import sample_patient
        from monai_cxrssl.phantom.render import render

        patient = sample_patient(index, label, seed=self.seed, images_per_patient=(2, 4))
        phantom = render(patient, number)
        return np.rint(phantom.image * 255).astype(np.uint8), phantom.lung_mask

    def square(self, index: int) -> tuple[Tensor, Tensor]:
        """Return a patient's first image and its lung mask, both ``(1, 1, SIDE, SIDE)``, uncut and unturned."""
        image, mask = self.film(index)
        whole = MultiView(size=SIDE, num_views=1, **FULL_FILM)
        views = whole.sample(image.shape[1:], key=(0, 0))
        return whole.apply(image, views), whole.apply_mask(mask, views)


def recipe(bundle: str) -> dict[str, Any]:
    """Return the recipe of a bundle for real data."""
    return json.loads((BUNDLES / bundle / "configs" / "recipes.json").read_text(encoding="utf-8"))["full"]


def views_of(bundle: str, seed: int, num_views: int = 2) -> MultiView:
    """Return the views of a bundle's recipe for real data."""
    values = recipe(bundle)
    jitter = values["jitter"]
    return MultiView(
        size=SIDE,
        num_views=num_views,
        seed=seed,
        scale=values["crop_scale"],
        rotation=values["rotation"],
        brightness=[1 - 0.8 * jitter, 1 + 0.8 * jitter],
        contrast=[1 - 0.8 * jitter, 1 + 0.8 * jitter],
        gamma=[1 / (1 + 0.5 * jitter), 1 + 0.5 * jitter],
    )


def plain(image: Tensor) -> np.ndarray:
    """Return the last two axes of an image as numbers in [0, 1]."""
    return image.reshape(image.shape[-2:]).clamp(0, 1).numpy()


def tinted(image: Tensor, mask: Tensor, colour: Sequence[float]) -> np.ndarray:
    """Return an image in RGB with a colour laid over a mask."""
    grey = plain(image)[..., None].repeat(3, axis=2)
    weight = 0.35 * (plain(mask.float()) > 0)[..., None]
    return grey * (1 - weight) + weight * np.asarray(colour)


def simclr(films: Films, seed: int) -> list[Panel]:
    """An image and two views of it; another patient's image and its views."""
    panels: list[Panel] = []
    for name, index in (("image A", 3), ("image B", 5)):
        image, _ = films.film(index)
        first, second = views_of("simclr", seed)(image, key=(0, index))
        panels += [
            (name, image[0] / 255),
            (f"view 1 of {name[-1]}", plain(first)),
            (f"view 2 of {name[-1]}", plain(second)),
        ]
    return panels


def micle(films: Films, seed: int) -> list[Panel]:
    """Two images of one patient and a view of each."""
    panels: list[Panel] = []
    for number, name in ((0, "first image"), (1, "second image")):
        image, _ = films.film(12, number)
        view = views_of("micle", seed, 1)(image, key=(0, number))
        panels += [(f"{name} of a patient", image[0] / 255), (f"its view {number + 1}", plain(view[0]))]
    return panels


def moco(films: Films, seed: int) -> list[Panel]:
    """Two views of an image, and views of others that wait in the queue."""
    image, _ = films.film(3)
    query, key = views_of("moco", seed)(image, key=(0, 3))
    queue = [views_of("moco", seed, 1)(films.film(index)[0], key=(0, index)) for index in range(20, 29)]
    small = torch.nn.functional.interpolate(torch.stack(queue)[:, 0], SIDE // 3, mode="area")[:, 0]
    tiles = torch.cat([torch.cat(list(row), dim=1) for row in small.split(3)])
    return [
        ("film", image[0] / 255),
        ("query: the encoder's view", plain(query)),
        ("key: the twin's view", plain(key)),
        ("queue: earlier keys", plain(tiles)),
    ]


def byol(films: Films, seed: int) -> list[Panel]:
    """An image and the view of either network."""
    image, _ = films.film(5)
    online, target = views_of("simclr", seed)(image, key=(0, 5))
    return [
        ("film", image[0] / 255),
        ("the online network's view ...", plain(online)),
        ("... predicts the target's", plain(target)),
    ]


def dino(films: Films, seed: int) -> list[Panel]:
    """The large views and the small ones, at their own size."""
    image, _ = films.film(3)
    scale = recipe("curricular")["alone"]["dino"]["crop_scale"]
    large = MultiView(size=SIDE, seed=seed, scale=scale, rotation=10)(image, key=(0, 3))
    side = SIDE * 3 // 7
    small = MultiView(size=side, num_views=4, seed=seed, scale=(0.05, scale[0]), rotation=10)(
        image, key=(0, 3), views=range(2, 6)
    )
    padded = torch.nn.functional.pad(small[:, 0], (8, 8, 8, 8), value=1.0)
    tiles = torch.cat([torch.cat(list(row), dim=1) for row in padded.split(2)])
    return [
        ("film", image[0] / 255),
        ("large view 1", plain(large[0])),
        ("large view 2", plain(large[1])),
        ("small views: the student's", plain(tiles)),
    ]


def mae(films: Films, seed: int) -> list[Panel]:
    """The patches that the encoder sees, and those that the decoder rebuilds."""
    image, _ = films.square(3)
    method = MAE(Encoder("tu-vit_tiny_patch16_224", in_channels=1), seed=seed)
    _, masked = method.choose(image)
    side = SIDE // PATCH
    cells = torch.zeros(1, side * side).scatter(1, masked, 1.0).reshape(1, 1, side, side)
    mask = cells.repeat_interleave(PATCH, 2).repeat_interleave(PATCH, 3) > 0
    target = torch.nn.functional.fold(method.target(image).transpose(1, 2), SIDE, PATCH, stride=PATCH)
    return [
        ("film", plain(image)),
        (f"the encoder sees {1 - mask.float().mean():.0%}", plain(torch.where(mask, torch.tensor(0.5), image))),
        ("rebuilt: normalised patches", plain(0.5 + target / 6)),
    ]


def inpainting(films: Films, seed: int) -> list[Panel]:
    """Holes centred on the lungs, drawn twice."""
    image, mask = films.square(3)
    values = recipe("inpainting")
    holes = InpaintHoles(values["holes"], values["hole_size"])
    generator = torch.Generator().manual_seed(seed + 2)
    panels: list[Panel] = [("film", plain(image)), ("its lung mask", tinted(image, mask, (0.2, 0.7, 1.0)))]
    for draw in (1, 2):
        corrupted, _ = holes(image, mask, generator)
        panels.append((f"with holes, draw {draw}", plain(corrupted)))
    return panels


def spcxr(films: Films, seed: int) -> list[Panel]:
    """Groups of patches replaced by noise, or by another image."""
    (image, _), (other, _) = films.square(3), films.square(5)
    generator = torch.Generator().manual_seed(seed)
    noise, mask = GroupMask(PATCH, alien_prob=0)(image, generator)
    alien, _ = GroupMask(PATCH, alien_prob=1)(image, generator, donors=other)
    return [
        ("film", plain(image)),
        (f"noise: {mask.float().mean():.0%} of the pixels", plain(noise)),
        ("another image", plain(other)),
        ("blocks of the other image", plain(alien)),
    ]


def rotation(films: Films, seed: int) -> list[Panel]:
    """A view in its four quarter turns."""
    view = views_of("curricular", seed, 1)(films.film(3)[0], key=(0, 1))
    turned, angle = Rotation(Encoder("resnet18", in_channels=1)).turn(view)
    return [(f"{90 * int(number)}°", plain(image)) for image, number in zip(turned, angle, strict=True)]


def jigsaw(films: Films, seed: int) -> list[Panel]:
    """A view, its cells, and its tiles as the network gets them."""
    view = views_of("curricular", seed, 1)(films.film(3)[0], key=(0, 1))
    puzzle = Jigsaw(Encoder("resnet18", in_channels=1), permutations=24, seed=seed)
    tiles, order = puzzle.shuffle(view)
    small = torch.nn.functional.pad(tiles[0, :, 0], (4, 4, 4, 4), value=1.0)
    rows = [torch.cat(list(row), dim=1) for row in small.split(puzzle.grid)]
    cells = plain(view).copy()
    for line in range(1, puzzle.grid):
        at = line * (SIDE // puzzle.grid)
        cells[at - 1 : at + 1] = cells[:, at - 1 : at + 1] = 1
    return [
        ("view", plain(view)),
        ("its cells", cells),
        (f"tiles in order {int(order[0])} of 24", plain(torch.cat(rows))),
    ]


def distillation(films: Films, seed: int) -> list[Panel]:
    """What the teacher sees, what the student sees, and where its features are compared."""
    image, _ = films.square(3)
    grid = (SIDE // PATCH, SIDE // PATCH)
    cells = draw_blocks(grid, torch.tensor([0.4]), 0.3, torch.Generator().manual_seed(seed), 0.4)
    mask = cells.repeat_interleave(PATCH, 1).repeat_interleave(PATCH, 2)[:, None]
    return [
        ("the teacher sees the image", plain(image)),
        ("the student sees the rest", plain(torch.where(mask, torch.tensor(0.5), image))),
        ("compared: features of these", tinted(image, mask, (1.0, 0.6, 0.1))),
    ]


def curricular(films: Films, seed: int) -> list[Panel]:
    """One picture of each stage: rotation, jigsaw, MoCo."""
    return [
        ("stage 1: which turn?", rotation(films, seed)[1][1]),
        ("stage 2: which order?", jigsaw(films, seed)[2][1]),
        ("stage 3: which image is ...", moco(films, seed)[1][1]),
        ("... this one?", moco(films, seed)[2][1]),
    ]


FIGURES: dict[str, Callable[[Films, int], list[Panel]]] = {
    "simclr": simclr,
    "micle": micle,
    "moco": moco,
    "byol": byol,
    "dino": dino,
    "mae": mae,
    "inpainting": inpainting,
    "spcxr": spcxr,
    "rotation": rotation,
    "jigsaw": jigsaw,
    "distillation": distillation,
    "curricular": curricular,
}


def write(panels: Sequence[Panel], path: Path) -> None:
    """Write panels side by side as a PNG of 96 colours, which is a third of the full file."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt
    from PIL import Image

    figure, axes = plt.subplots(1, len(panels), figsize=(1.9 * len(panels), 2.3), dpi=110, layout="constrained")
    for axis, (title, image) in zip(axes, panels, strict=True):
        axis.imshow(image, cmap="gray", vmin=0, vmax=1)
        axis.set_title(title, fontsize=8)
        axis.set_axis_off()
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    plt.close(figure)
    with Image.open(buffer) as picture:
        picture.convert("RGB").quantize(96).save(path, optimize=True)


def main() -> None:
    """Write all pictures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", default=str(Path(__file__).parent / "images" / "methods"))
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    folder = Path(options.output)
    folder.mkdir(parents=True, exist_ok=True)
    films = Films(options.seed)
    for name, panels in FIGURES.items():
        path = folder / f"{name}.png"
        write(panels(films, options.seed), path)
        print(f"written: {path}, {path.stat().st_size / 1024:.0f} kB")


if __name__ == "__main__":
    main()
