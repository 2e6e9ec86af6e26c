"""What spoils a picture in its own modality: the physics of the device, not a grey-value game.

Every corruption takes and gives (H, W, 3) float32 in 0..1 and leaves objects where they are.
"""

import io
from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from scipy import ndimage

Picture = NDArray[np.float32]
Corruption = Callable[[Picture, np.random.Generator], Picture]


def corrupt(
    picture: NDArray[np.uint8], modality: str, rng: np.random.Generator
) -> NDArray[np.uint8]:
    """One corruption typical of ``modality``; of an unknown one, noise or JPEG."""
    kinds = CORRUPTIONS.get(modality, (shot_noise, jpeg))
    kind = kinds[int(rng.integers(len(kinds)))]
    spoilt = kind(picture.astype(np.float32) / np.float32(255), rng)
    return np.rint(np.clip(spoilt, 0, 1) * 255).astype(np.uint8)


def smooth_noise(shape: tuple[int, int], cells: int, rng: np.random.Generator) -> Picture:
    """Noise (H, W) of about ``cells`` bumps along each side, mean 0, deviation 1."""
    coarse = rng.normal(size=(cells + 3, cells + 3))
    rows, columns = (np.linspace(1, cells + 1, n) for n in shape)
    fine = ndimage.map_coordinates(coarse, np.meshgrid(rows, columns, indexing="ij"), order=3)
    return np.asarray((fine - fine.mean()) / (fine.std() + 1e-6), dtype=np.float32)


def speckle(x: Picture, rng: np.random.Generator) -> Picture:
    """Coherent imaging (ultrasound, OCT): multiplicative, correlated, of Gamma distribution."""
    looks = rng.uniform(4, 20)
    grain = rng.gamma(looks, 1 / looks, x.shape[:2])
    grain = ndimage.gaussian_filter(grain, (rng.uniform(0, 0.6), rng.uniform(0.3, 1.5)))
    return np.asarray(x * grain[:, :, None], dtype=np.float32)


def shadow(x: Picture, rng: np.random.Generator) -> Picture:
    """Ultrasound behind gas or bone: columns that lose their signal from some depth on."""
    height, width = x.shape[:2]
    columns = np.arange(width) - rng.uniform(0, width)
    across = np.exp(-((columns / (width * rng.uniform(0.03, 0.12))) ** 2))
    depth = np.arange(height) / height > rng.uniform(0, 0.6)
    kept = 1 - rng.uniform(0.3, 0.8) * depth[:, None] * across[None, :]
    return np.asarray(x * kept[:, :, None], dtype=np.float32)


def bias_field(x: Picture, rng: np.random.Generator) -> Picture:
    """Uneven coil sensitivity (MR) or illumination: a smooth factor."""
    field = smooth_noise((x.shape[0], x.shape[1]), int(rng.integers(1, 4)), rng)
    return np.asarray(x * np.exp(rng.uniform(0.1, 0.35) * field)[:, :, None], dtype=np.float32)


def ghosting(x: Picture, rng: np.random.Generator) -> Picture:
    """Motion between phase-encoding steps (MR): every n-th line of k-space is weaker."""
    axis, every = int(rng.integers(2)), int(rng.integers(2, 6))
    lines = [slice(None)] * 3
    lines[axis] = slice(None, None, every)
    k = np.fft.fft2(x, axes=(0, 1))
    zero = k[0, 0].copy()
    k[tuple(lines)] *= 1 - rng.uniform(0.1, 0.4)
    k[0, 0] = zero
    return np.asarray(np.abs(np.fft.ifft2(k, axes=(0, 1))), dtype=np.float32)


def rician_noise(x: Picture, rng: np.random.Generator) -> Picture:
    """Magnitude of a complex signal with noise in both parts (MR)."""
    sigma = rng.uniform(0.01, 0.08)
    real, imaginary = rng.normal(0, sigma, (2, *x.shape[:2], 1))
    return np.asarray(np.hypot(x + real, imaginary), dtype=np.float32)


def low_dose(x: Picture, rng: np.random.Generator) -> Picture:
    """Few photons (CT): noise without low frequencies, as filtered back-projection leaves it, and
    streaks along one direction."""
    white = rng.normal(size=x.shape[:2])
    grain = white - ndimage.gaussian_filter(white, 1.5)
    streaks = ndimage.gaussian_filter(rng.normal(size=x.shape[:2]), (0.4, 12))
    streaks = ndimage.rotate(streaks, rng.uniform(0, 180), reshape=False, mode="wrap", order=1)
    noise = rng.uniform(0.02, 0.1) * (grain + rng.uniform(0, 2) * streaks)
    return np.asarray(x + noise[:, :, None], dtype=np.float32)


def shot_noise(x: Picture, rng: np.random.Generator) -> Picture:
    """Poisson counts (PET, X-ray, fluorescence); the brightest value is 20 to 400 counts."""
    counts = np.exp(rng.uniform(np.log(20), np.log(400)))
    grey = np.array_equal(x[..., 0], x[..., 2])
    source = x[..., :1] if grey else x
    noisy = rng.poisson(np.clip(source, 0, 1) * counts) / counts
    return np.asarray(np.broadcast_to(noisy, x.shape), dtype=np.float32)


def scatter(x: Picture, rng: np.random.Generator) -> Picture:
    """Scattered photons (X-ray): a wide blur of the picture lies over it."""
    wide = ndimage.gaussian_filter(x, (x.shape[0] / 12, x.shape[1] / 12, 0))
    share = np.float32(rng.uniform(0.15, 0.5))
    return np.asarray((1 - share) * x + share * wide, dtype=np.float32)


def blur(x: Picture, rng: np.random.Generator) -> Picture:
    """Out of focus, or the resolution of PET."""
    return np.asarray(
        ndimage.gaussian_filter(x, (*[rng.uniform(0.6, 2.2)] * 2, 0)), dtype=np.float32
    )


def highlights(x: Picture, rng: np.random.Generator) -> Picture:
    """Wet tissue under a lamp (endoscopy): white spots with soft edges."""
    height, width = x.shape[:2]
    mask = Image.new("L", (width, height))
    draw = ImageDraw.Draw(mask)
    for _ in range(int(rng.integers(3, 20))):
        cx, cy = rng.uniform(0, width), rng.uniform(0, height)
        rx, ry = rng.uniform(0.003, 0.025, 2) * max(height, width)
        draw.ellipse((cx - rx, cy - ry, cx + rx, cy + ry), fill=255)
    soft = ndimage.gaussian_filter(np.asarray(mask, np.float32) / 255, rng.uniform(0.5, 1.5))
    return np.asarray(x + (1 - x) * soft[:, :, None], dtype=np.float32)


def hairs(x: Picture, rng: np.random.Generator) -> Picture:
    """Dark hairs across the skin (dermoscopy): quadratic curves, 1 to 3 pixels wide."""
    height, width = x.shape[:2]
    mask = Image.new("L", (width, height))
    draw = ImageDraw.Draw(mask)
    t = np.linspace(0, 1, 24)[:, None]
    for _ in range(int(rng.integers(2, 12))):
        a, b, c = rng.uniform(0, 1, (3, 2)) * [width, height]
        curve = (1 - t) ** 2 * a + 2 * t * (1 - t) * b + t**2 * c
        draw.line([(float(u), float(v)) for u, v in curve], fill=255, width=int(rng.integers(1, 4)))
    soft = ndimage.gaussian_filter(np.asarray(mask, np.float32) / 255, 0.6)[:, :, None]
    return np.asarray(x * (1 - soft * np.float32(rng.uniform(0.5, 0.9))), dtype=np.float32)


def jpeg(x: Picture, rng: np.random.Generator) -> Picture:
    """Saved once too often: quality 15 to 60."""
    stream = io.BytesIO()
    shown = Image.fromarray(np.rint(np.clip(x, 0, 1) * 255).astype(np.uint8))
    shown.save(stream, "JPEG", quality=int(rng.integers(15, 61)))
    return np.asarray(Image.open(stream), np.float32) / np.float32(255)


CORRUPTIONS: Mapping[str, tuple[Corruption, ...]] = {
    "Ultrasound": (speckle, shadow),
    "OCT": (speckle, shadow),
    "MR": (bias_field, ghosting, rician_noise),
    "CT": (low_dose,),
    "PET": (shot_noise, blur),
    "X-Ray": (shot_noise, scatter),
    "Mammography": (shot_noise, scatter),
    "Endoscopy": (highlights, jpeg, blur),
    "Dermoscopy": (hairs, bias_field, jpeg),
    "Fundus": (bias_field, blur, jpeg),
    "Microscopy": (blur, shot_noise, bias_field),
}
"""What happens to pictures of each modality."""
