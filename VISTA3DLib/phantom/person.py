"""Who is scanned: the map between the world and the standard anatomy, and the sizes that differ between people."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from VISTA3DLib.phantom.shapes import Points, Rows, Triple

# (amplitude mm, waves per metre along R, A and S, phase): so that even the standard person has no perfect ellipse;
# these do not depend on the seed
_LUMPS = (
    ((1.1, 0.0, 13.0, 7.0, 0.3), (0.9, 0.0, -7.0, 14.0, 2.1)),  # move right-left
    ((1.1, 12.0, 0.0, 9.0, 1.2), (0.9, -9.0, 0.0, 13.0, 4.0)),  # move anterior-posterior
    ((0.9, 11.0, 10.0, 0.0, 5.2), (0.8, 14.0, -8.0, 0.0, 0.9)),  # move up and down
)


@dataclass(frozen=True, kw_only=True)
class Waves:
    """Smooth function of the world: ``offset + slope . p + sum of amplitude * sin(vector . p + phase)``, p in mm."""

    amplitudes: Points
    vectors: Points  # radians per mm, a row a wave
    phases: Points
    slope: Points
    offset: float = 0.0

    def at(self, points: Points) -> Points:
        """Values at rows of world points (mm)."""
        waves = np.sin(points @ self.vectors.T + self.phases) @ self.amplitudes
        return np.asarray(self.offset + points @ self.slope + waves)


@dataclass(frozen=True, kw_only=True)
class Person:
    """One person: ``maps`` gives the anatomy's R, A and S (mm) of a world point; ``scale`` is the size in the world."""

    seed: int
    variation: float
    scale: Triple
    maps: tuple[Waves, Waves, Waves]

    def stream(self, name: str) -> np.random.Generator:
        """Random numbers of one structure: what other structures draw does not change them."""
        return np.random.default_rng([self.seed, zlib.crc32(name.encode())])

    def size(self, name: str, spread: float) -> float:
        """A factor around 1 with relative standard deviation ``spread`` at variation 1, at most two of them off."""
        return float(np.exp(spread * self.variation * np.clip(self.stream(name).standard_normal(), -2, 2)))

    def widened(self, name: str, rows: Rows, spread: float) -> list[tuple[float, ...]]:
        """A tube's rows, their radii times a ``size`` of this person."""
        factor = self.size(name, spread)
        return [(*row[:3], row[3] * factor) for row in rows]

    def shift(self, name: str, *spread: float) -> Points:
        """An offset in mm with these standard deviations at variation 1, at most two of them off."""
        draw = np.clip(self.stream(name + " shift").standard_normal(len(spread)), -2, 2)
        return np.asarray(np.asarray(spread) * self.variation * draw)

    @cached_property
    def stretch(self) -> float:
        """By how much a short length grows at most from the anatomy to the world."""
        bend = sum(float(np.abs(waves.amplitudes) @ np.linalg.norm(waves.vectors, axis=1)) for waves in self.maps)
        return max(self.scale) * (1.04 + 0.25 * bend)

    def to_world(self, points: Points) -> Points:
        """World coordinates (mm, RAS) of rows of anatomy points (mm)."""
        scale = np.asarray(self.scale)
        world = points * scale
        for _ in range(20):
            found = np.stack([waves.at(world) for waves in self.maps], axis=1)
            world = world + (points - found) * scale
            if np.abs(points - found).max() < 0.05:  # the waves are gentle: the next step is smaller still
                break
        return np.asarray(world)


def make_person(seed: int, variation: float) -> Person:
    """The person of a seed; at variation 0 every seed is the standard person."""
    seed = seed if variation else 0
    rng = np.random.default_rng([seed, 1])

    def draw(spread: float) -> float:
        return float(spread * variation * np.clip(rng.standard_normal(), -2, 2))

    whole = draw(0.035)
    scale = (np.exp(whole + draw(0.06)), np.exp(whole + draw(0.06)), np.exp(whole + draw(0.03)))
    roll, pitch, yaw = draw(0.025), draw(0.03), draw(0.04)
    lean = np.array([[0.0, yaw, roll], [-yaw, 0.0, pitch], [-roll, -pitch, 0.0]])
    maps = []
    for axis in range(3):
        rows = list(_LUMPS[axis]) if variation < 1e-9 else [*_LUMPS[axis], *_bends(rng, axis, draw)]
        amplitudes, right, front, up, phases = np.array(rows, dtype=np.float64).T
        slope = lean[axis].copy()
        slope[axis] = 1 / scale[axis]
        vectors = np.stack([right, front, up], axis=1) * 2e-3 * np.pi
        maps.append(Waves(amplitudes=amplitudes, vectors=vectors, phases=phases, slope=slope))
    size = (float(scale[0]), float(scale[1]), float(scale[2]))
    return Person(seed=seed, variation=variation, scale=size, maps=(maps[0], maps[1], maps[2]))


def _bends(rng: np.random.Generator, axis: int, draw: Callable[[float], float]) -> list[tuple[float, ...]]:
    """Random waves that move one axis: a bend of the spine, long and medium waves; amplitudes shrink with length."""
    rows: list[tuple[float, ...]] = []
    for amplitude, most in ((5.0, 3.5), (4.5, 3.5), (3.0, 5.0), (1.6, 8.0), (1.6, 8.0)):
        across = rng.uniform(-most, most, 3)
        across[axis] = 0.0
        if not rows and axis < 2:
            across = np.array([0.0, 0.0, rng.uniform(1.6, 3.0)])
        rows.append((draw(amplitude), *across, float(rng.uniform(0, 2 * np.pi))))
    return rows
