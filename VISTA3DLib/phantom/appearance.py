"""How tissues look on CT: their HU with and without contrast, their texture, and what the scanner adds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from VISTA3DLib.phantom.canvas import Patch
from VISTA3DLib.phantom.person import Person
from VISTA3DLib.phantom.settings import PhantomSettings
from VISTA3DLib.phantom.shapes import Array

Painter = Callable[[Patch], Array]

VOXEL_BLUR = 0.29  # standard deviation of a voxel's own extent, in voxels: 1 / sqrt(12)
NOISE_GRAIN_MM = 0.8  # standard deviation of the smoothing that correlates the noise

# HU without contrast and with strong contrast, and the spread between people at variation 1
_HU: dict[str, tuple[float, float, float]] = {
    "air": (-1000, -1000, 0),
    "gas": (-960, -960, 0),
    "skin": (20, 30, 0),
    "fat": (-103, -100, 4),
    "muscle": (54, 64, 5),
    "tendon": (70, 75, 3),
    "artery": (45, 300, 20),
    "vein": (44, 175, 15),
    "portal": (44, 205, 15),
    "cardiac blood": (45, 240, 15),
    "myocardium": (46, 105, 6),
    "liver": (60, 112, 9),
    "hepatic vessel": (45, 190, 10),
    "tumour": (40, 58, 8),
    "tumour rim": (45, 130, 8),
    "spleen": (50, 125, 7),
    "pancreas": (40, 98, 8),
    "adrenal": (30, 80, 6),
    "cortex": (36, 205, 15),
    "medulla": (32, 140, 15),
    "urine": (5, 8, 3),
    "bile": (8, 10, 4),
    "gut wall": (40, 92, 6),
    "gut fluid": (14, 16, 6),
    "stool": (25, 30, 10),
    "prostate": (40, 70, 5),
    "lung": (-850, -845, 15),
    "nodule": (30, 60, 15),
    "cord": (38, 42, 2),
    "csf": (10, 10, 2),
    "disc": (85, 90, 8),
    "cartilage": (105, 110, 15),
    "cortical": (750, 760, 80),
    "thin cortical": (520, 530, 60),
    "trabecular": (190, 200, 35),
    "marrow": (60, 65, 20),
    "table shell": (90, 90, 0),
    "table core": (-870, -870, 0),
    "mattress": (-720, -720, 0),
}


@dataclass(frozen=True, kw_only=True)
class Tissues:
    """HU of the tissues of one person at one contrast."""

    person: Person
    contrast: float

    def __getitem__(self, name: str) -> float:
        native, enhanced, spread = _HU[name]
        value = native + self.contrast * (enhanced - native)
        draw = self.person.stream("HU " + name).standard_normal() if spread else 0.0
        return float(value + self.person.variation * spread * np.clip(draw, -2, 2))


def textured(value: float, strength: float, wavelength: float, seed: int = 0) -> Painter:
    """HU that waver by ``strength`` around ``value``."""
    return lambda patch: np.float32(value) + np.float32(strength) * patch.ripple(wavelength, seed)


def bone(tissues: Tissues, shell: float, inner: str = "trabecular", outer: str = "cortical") -> Painter:
    """Cortical bone of ``shell`` mm around spongy bone that wavers, and grows denser towards the shell."""
    hard, soft = np.float32(tissues[outer]), np.float32(tissues[inner])

    def look(patch: Patch) -> Array:
        depth = np.clip(-patch.distance / np.float32(shell), 0, 3)
        spongy = soft + np.float32(35) * patch.ripple(11.0, 3) + np.float32(60) * np.maximum(2 - depth, 0)
        return np.asarray(np.where(depth < 1, hard, spongy), dtype=np.float32)

    return look


def walled(tissues: Tissues, wall: str, thickness: float, content: Painter) -> Painter:
    """A hollow organ: its wall of ``thickness`` mm, and what it contains."""
    hu = np.float32(tissues[wall])
    return lambda patch: np.where(patch.distance > -thickness, hu, content(patch)).astype(np.float32)


def scan(hu: Array, settings: PhantomSettings) -> Array:
    """What the scanner makes of the tissues, in place: point spread, voxel extent, and correlated noise."""
    spacing = np.asarray(settings.spacing)
    _smooth(hu, np.hypot(settings.blur_mm / spacing, VOXEL_BLUR))
    if settings.noise_hu:
        rng = np.random.default_rng([settings.seed, 2])
        noise = rng.standard_normal(hu.shape, dtype=np.float32)
        grain = NOISE_GRAIN_MM / spacing
        kept = _smooth(noise, grain)
        noise *= np.float32(settings.noise_hu / kept)
        hu += noise
    return hu


def _smooth(array: Array, sigmas: np.ndarray[tuple[int], np.dtype[np.float64]]) -> float:
    """Gaussian smoothing in place (sigmas in voxels); returns by how much it scales white noise."""
    kept = 1.0
    for axis, sigma in enumerate(sigmas):
        if sigma < 0.2 or array.shape[axis] == 1:
            continue
        radius = max(1, int(np.ceil(2.5 * sigma)))
        kernel = np.exp(-0.5 * (np.arange(-radius, radius + 1) / sigma) ** 2)
        kernel /= kernel.sum()
        ndimage.correlate1d(array, kernel, axis=axis, output=array, mode="nearest")
        kept *= float(np.sqrt((kernel**2).sum()))
    return kept
