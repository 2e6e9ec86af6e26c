"""Pictures made from labels, for modalities with few cases.

After SynthSeg (Billot et al., arXiv 2107.09559): every label gets a random brightness and texture,
so a network must go by outlines instead of the few appearances it has seen.  We differ in the
background, which has no labels in these data: it is divided at random, so that objects do not
stand on an empty ground.
"""

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from training.corruption import smooth_noise


def synthetic_picture(
    labels: NDArray[np.uint16], picture: NDArray[np.uint8], rng: np.random.Generator
) -> NDArray[np.uint8]:
    """A picture (H, W, 3) with the outlines of ``labels`` (H, W), grey where ``picture`` is."""
    shape = (labels.shape[0], labels.shape[1])
    tissues = random_ground(shape, int(rng.integers(2, 6)), rng)
    names, inverse = np.unique(labels, return_inverse=True)
    ground = int(tissues.max()) + 1
    tissue_of_label = np.where(names == 0, 0, ground + np.arange(len(names)))
    tissues = np.where(labels > 0, tissue_of_label[inverse.reshape(shape)], tissues)
    count = int(tissues.max()) + 1
    grey = np.array_equal(picture[..., 0], picture[..., 2])
    colours = rng.uniform(0, 1, (count, 1 if grey else 3))
    filled = colours[tissues]
    filled = ndimage.gaussian_filter(filled, (*[rng.uniform(0.3, 1.5)] * 2, 0))  # partial volume
    roughness = rng.uniform(0, 0.12, count)[tissues]
    texture = smooth_noise(shape, int(rng.integers(8, 40)), rng) * roughness
    grain = rng.normal(0, rng.uniform(0.01, 0.06), shape)
    shade = smooth_noise(shape, 2, rng) * rng.uniform(0, 0.1)
    made = filled + (texture + grain + shade)[:, :, None]
    return np.rint(np.clip(np.broadcast_to(made, (*shape, 3)), 0, 1) * 255).astype(np.uint8)


def random_ground(shape: tuple[int, int], parts: int, rng: np.random.Generator) -> NDArray[np.intp]:
    """A random division of a picture into at most ``parts`` smooth parts, 0..parts-1."""
    cells = int(rng.integers(2, 7))
    heights = np.stack([smooth_noise(shape, cells, rng) for _ in range(parts)])
    return np.asarray(heights.argmax(axis=0))
