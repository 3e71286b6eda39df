"""Train the demo's SwiftFormer on scikit-learn's handwritten digits, and write examples/digits/.

    python benchmarks/train_digits.py -o examples/digits

1797 grey images of 8 x 8 pixels are scaled to 32 px and split, stratified, into 1437 for training and 360 held out.
Writes the checkpoint in the official training file's layout, the held-out images as PNG files in a folder a class,
and labels.txt. Prints one JSON document with the measured accuracies. Takes a few minutes on two cores.

    python benchmarks/train_digits.py --training-images digits-training

writes the 1437 images that it would train on instead, in a folder a class: what a search or a calibration may see.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from swiftdeploy_models.swiftformer import SwiftFormer, swiftformer_digits
from torch import Tensor
from torch.nn import functional as F

SIDE = 32
LABELS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
# The dataset's own pixels run from 0 to 16.
GREYS = 16


def images() -> tuple[np.ndarray, np.ndarray]:
    """All digits as uint8 (1797, 32, 32), enlarged bicubically, and their labels."""
    digits = load_digits()
    small = np.round(digits.images * (255 / GREYS)).astype(np.uint8)
    large = [np.asarray(Image.fromarray(image).resize((SIDE, SIDE), Image.Resampling.BICUBIC)) for image in small]
    return np.stack(large), digits.target.astype(np.int64)


def split(labels: np.ndarray, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """(places of the images to train on, of those held out)."""
    trained, held = train_test_split(np.arange(len(labels)), test_size=360, random_state=seed, stratify=labels)
    return trained, held


def prepare(pixels: np.ndarray) -> Tensor:
    """uint8 (N, H, W) -> float32 (N, 3, H, W): the grey repeated, (x / 255 - 0.5) / 0.5, as the catalog's row says."""
    return ((torch.from_numpy(pixels).float() / 255 - 0.5) / 0.5).unsqueeze(1).expand(-1, 3, -1, -1).contiguous()


def augment(batch: Tensor, generator: torch.Generator) -> Tensor:
    """Each image turned by up to 12 degrees, scaled by up to 12 % and shifted by up to 2.5 px, on black."""

    def uniform(reach: float) -> Tensor:
        return (2 * torch.rand(len(batch), generator=generator) - 1) * reach

    angle, scale = uniform(math.radians(12)), 1 + uniform(0.12)
    rows = [
        torch.stack([scale * angle.cos(), -scale * angle.sin(), uniform(5 / SIDE)], dim=1),
        torch.stack([scale * angle.sin(), scale * angle.cos(), uniform(5 / SIDE)], dim=1),
    ]
    grid = F.affine_grid(torch.stack(rows, dim=1), list(batch.shape), align_corners=False)
    return F.grid_sample(batch + 1, grid, mode="bilinear", align_corners=False) - 1


def train(model: SwiftFormer, x: Tensor, y: Tensor, *, epochs: int, batch: int, rate: float, decay: float) -> None:
    """AdamW with a cosine schedule. Both heads learn the labels, the second one smoothed, so that the two differ."""
    generator = torch.Generator().manual_seed(1)
    steps = epochs * (len(x) // batch)
    optimizer = torch.optim.AdamW(model.parameters(), lr=rate, weight_decay=decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=rate, total_steps=steps, pct_start=0.1)
    model.train()
    for _ in range(epochs):
        order = torch.randperm(len(x), generator=generator)
        for start in range(0, len(x) - batch + 1, batch):
            chosen = order[start : start + batch]
            logits, distilled = model(augment(x[chosen], generator))
            loss = F.cross_entropy(logits, y[chosen]) + F.cross_entropy(distilled, y[chosen], label_smoothing=0.1)
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()


@torch.no_grad()
def accuracy(model: SwiftFormer, x: Tensor, y: Tensor) -> float:
    """Top-1 in percent."""
    return round(100 * float((model.eval()(x).argmax(1) == y).float().mean()), 3)


def write(folder: Path, model: SwiftFormer, epochs: int, pixels: np.ndarray, labels: np.ndarray) -> None:
    """The checkpoint, labels.txt, and images/<class>/NNNN.png."""
    folder.mkdir(parents=True, exist_ok=True)
    torch.save({"model": model.state_dict(), "epoch": epochs - 1}, folder / "swiftformer_digits.pth")
    (folder / "labels.txt").write_text("".join(f"{label}\n" for label in LABELS))
    write_images(folder / "images", pixels, labels)


def write_images(folder: Path, pixels: np.ndarray, labels: np.ndarray) -> None:
    """<class>/NNNN.png."""
    for index, (image, label) in enumerate(zip(pixels, labels, strict=True)):
        file = folder / str(label) / f"{index:04d}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(file, optimize=True)


def main() -> None:
    """Train, write, and print one JSON document."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--output", type=Path, default=Path("examples/digits"))
    parser.add_argument("--training-images", type=Path, metavar="DIR")
    parser.add_argument("--attention", choices=("token_l2", "sum"), default="token_l2")
    parser.add_argument("--epochs", type=int, default=60)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--rate", type=float, default=4e-3)
    parser.add_argument("--decay", type=float, default=0.025)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    torch.manual_seed(options.seed)
    torch.use_deterministic_algorithms(True)
    pixels, labels = images()
    kept = split(labels, options.seed)
    if options.training_images is not None:
        write_images(options.training_images, pixels[kept[0]], labels[kept[0]])
        return
    (x, y), (held_x, held_y) = [(prepare(pixels[part]), torch.from_numpy(labels[part])) for part in kept]
    model = swiftformer_digits(attention=options.attention)
    started = time.perf_counter()
    train(model, x, y, epochs=options.epochs, batch=options.batch, rate=options.rate, decay=options.decay)
    seconds = time.perf_counter() - started
    write(options.output, model, options.epochs, pixels[kept[1]], labels[kept[1]])
    document = {
        "attention": options.attention,
        "epochs": options.epochs,
        "seed": options.seed,
        "seconds": round(seconds, 1),
        "parameters": sum(p.numel() for p in model.parameters()),
        "train_images": len(y),
        "held_out_images": len(held_y),
        "train_top1_percent": accuracy(model, x, y),
        "held_out_top1_percent": accuracy(model, held_x, held_y),
    }
    print(json.dumps(document, indent=2))


if __name__ == "__main__":
    main()
