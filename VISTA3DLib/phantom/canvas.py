"""The grid that is painted, and the rule by which structures share its voxels."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
import numpy.typing as npt

from VISTA3DLib.phantom.person import Person, Waves
from VISTA3DLib.phantom.settings import PhantomSettings
from VISTA3DLib.phantom.shapes import FAR, Array, Points, Solid, Tube, segment_distance, smooth_max, turn_matrix

Box = tuple[slice, slice, slice]
Mask = npt.NDArray[np.bool_]
Labels = npt.NDArray[np.uint8]

HARD = 1000.0  # weight of a structure that gives nothing away
FAT_HU = np.float32(-100)
SLAB_VOXELS = 3_000_000  # painted at a time: bounds the memory for coordinates and distances to about 200 MB

# of the standard torso, its table and the air around, mm
FIELD_OF_VIEW = (400.0, 300.0, 600.0)
CENTRE = (0.0, -15.0, 0.0)


@dataclass(frozen=True, kw_only=True)
class Grid:
    """Voxels in the world: shape, and the 4x4 affine from voxel indices to RAS mm."""

    shape: tuple[int, int, int]
    affine: Points

    def crop(self, box: Box) -> Grid:
        """The part of the grid in a box of voxels."""
        affine = self.affine.copy()
        affine[:3, 3] += affine[:3, :3] @ [cut.start for cut in box]
        i, j, k = (cut.stop - cut.start for cut in box)
        return Grid(shape=(i, j, k), affine=affine)

    def box(self, corners: Points, margin: float = 0.0) -> Box | None:
        """The box of voxels around rows of world points and ``margin`` mm more; nothing if it is outside the grid."""
        inverse = np.linalg.inv(self.affine)
        voxels = corners @ inverse[:3, :3].T + inverse[:3, 3]
        more = margin * np.linalg.norm(inverse[:3, :3], axis=1)
        first = np.maximum(np.ceil(voxels.min(axis=0) - more).astype(int), 0)
        last = np.minimum(np.floor(voxels.max(axis=0) + more).astype(int) + 1, self.shape)
        if np.any(first >= last):
            return None
        i, j, k = (slice(int(a), int(b)) for a, b in zip(first, last, strict=True))
        return i, j, k

    def slabs(self, box: Box) -> Iterator[Box]:
        """A box cut along i into pieces that are small enough to paint."""
        i, j, k = box
        thick = max(1, SLAB_VOXELS // ((j.stop - j.start) * (k.stop - k.start)))
        for first in range(i.start, i.stop, thick):
            yield slice(first, min(first + thick, i.stop)), j, k

    def world(self, axis: int, where: Box | None = None) -> Array:
        """World coordinate (mm) of a box's voxels along R (0), A (1) or S (2)."""
        none = np.zeros(0)
        return self.values(Waves(amplitudes=none, vectors=np.zeros((0, 3)), phases=none, slope=np.eye(3)[axis]), where)

    @property
    def everything(self) -> Box:
        """The box of all voxels."""
        i, j, k = (slice(0, count) for count in self.shape)
        return i, j, k

    def values(self, waves: Waves, where: Box | None = None) -> Array:
        """A smooth function of the world at the voxels of a box.

        The phase of a plane wave is linear in i, j and k on every grid, so that sin(a + b) = sin a cos b + cos a sin b
        makes the whole sum one matrix product: no sine is taken voxel by voxel.
        """
        box = where or self.everything
        i, j, k = (np.arange(cut.start, cut.stop) for cut in box)
        turns = waves.vectors @ self.affine[:3]
        in_plane = (turns[:, 3] + waves.phases) + i[:, None, None] * turns[:, 0] + j[:, None] * turns[:, 1]
        through = turns[:, 2][:, None] * k
        slope = waves.slope @ self.affine[:3]
        flat = waves.offset + slope[3] + i[:, None] * slope[0] + j * slope[1]
        height = waves.amplitudes[:, None]
        left = np.concatenate([np.sin(in_plane), np.cos(in_plane), flat[..., None], np.ones((*flat.shape, 1))], axis=2)
        ones = np.ones((1, len(k)))
        right = np.concatenate([np.cos(through) * height, np.sin(through) * height, ones, slope[2] * k[None]])
        total = left.reshape(len(i) * len(j), -1).astype(np.float32) @ right.astype(np.float32)
        return np.asarray(total.reshape(len(i), len(j), len(k)))


def make_grid(settings: PhantomSettings, person: Person) -> Grid:
    """The grid that the settings ask for, centred on the person unless they say otherwise."""
    middle = person.to_world(np.array([CENTRE]))[0]
    extent = settings.field_of_view or tuple(
        length * scale for length, scale in zip(FIELD_OF_VIEW, person.scale, strict=True)
    )
    spacing = np.asarray(settings.spacing)
    wanted = np.asarray([extent[axis] for axis in settings.world_axes])
    counts = np.maximum(1, np.round(wanted / spacing)).astype(int)
    directions = np.zeros((3, 3))
    for column, (axis, sign) in enumerate(zip(settings.world_axes, settings.signs, strict=True)):
        directions[axis, column] = sign
    steps = (turn_matrix(settings.rotation_deg) @ directions) * spacing
    affine = np.eye(4)
    affine[:3, :3] = steps
    affine[:3, 3] = middle - steps @ ((counts - 1) / 2) if settings.origin is None else settings.origin
    return Grid(shape=(int(counts[0]), int(counts[1]), int(counts[2])), affine=affine)


def box_points(low: npt.ArrayLike, high: npt.ArrayLike, count: int) -> Points:
    """``count`` points along each side of a box, its corners among them, as rows."""
    sides = np.linspace(np.asarray(low), np.asarray(high), count).T
    return np.stack(np.meshgrid(*sides, indexing="ij"), axis=-1).reshape(-1, 3)


@dataclass(frozen=True, kw_only=True)
class Patch:
    """A structure's box of voxels: anatomy coordinates and signed distance (mm)."""

    grid: Grid
    where: Box
    x: Array
    y: Array
    z: Array
    distance: Array
    along: Array | None = None  # mm along a tracked tube

    @property
    def height(self) -> Array:
        """World A (mm), along which gas rises in a person who lies on the back."""
        return self.grid.world(1, self.where)

    def ripple(self, wavelength: float, seed: int, waves: int = 12) -> Array:
        """A smooth random texture, about -1 to 1, with details of about half a ``wavelength`` (mm)."""
        rng = np.random.default_rng([7, seed])
        vectors = rng.normal(size=(waves, 3)) * 2 * np.pi / wavelength / np.sqrt(2)
        phases = rng.uniform(0, 2 * np.pi, waves)
        flat = np.full(waves, 0.9 / np.sqrt(waves))
        texture = Waves(amplitudes=flat, vectors=vectors, phases=phases, slope=np.zeros(3))
        return self.grid.values(texture, self.where)


Look = float | Callable[[Patch], Array]
Field = Literal["", "skin", "flesh", "cavity", "chest", "belly"]


@dataclass(frozen=True, kw_only=True)
class Part:
    """One structure to paint.

    ``label``: its class, 0 for tissue without one, or a function for a structure of several classes.
    ``look``: HU.
    ``weight``: where soft structures overlap, each voxel goes to the one with the larger weight x depth; ``HARD``
    ones keep all that they took, so they are painted first.
    ``moat``: mm of fat left between it and a soft structure that it displaces.
    ``inside``: only paint on voxels of these classes, and leave their class as it is (a vessel in the liver).
    ``overlap``: the class under which ``inside`` voxels are kept as a mask.
    ``track``: give the look the arc length of a tube.
    ``limit``: stay inside this field of the canvas, by ``margin`` mm.
    """

    name: str
    shape: Solid | Tube
    look: Look
    label: int | Callable[[Patch], Labels] = 0
    weight: float = 1.0
    moat: float = 0.0
    inside: tuple[int, ...] = ()
    overlap: int = 0
    track: bool = False
    limit: Field = ""
    margin: float = 0.0


@dataclass(kw_only=True)
class Canvas:
    """The voxels of one slab while they are painted."""

    grid: Grid
    person: Person
    hu: Array = field(init=False)
    labels: Labels = field(init=False)
    claim: Array = field(init=False)  # weight x signed distance of the structure that has the voxel; 0: nobody
    coordinates: tuple[Array, Array, Array] = field(init=False)
    body: Mask = field(init=False)  # under the skin
    fields: dict[str, Array] = field(init=False, default_factory=dict)  # signed distances that limit parts

    def __post_init__(self) -> None:
        shape = self.grid.shape
        self.hu = np.full(shape, -1000, dtype=np.float32)
        self.labels = np.zeros(shape, dtype=np.uint8)
        self.claim = np.zeros(shape, dtype=np.float32)
        self.body = np.zeros(shape, dtype=bool)
        x, y, z = (self.grid.values(waves) for waves in self.person.maps)
        self.coordinates = x, y, z
        inverse = np.linalg.inv(self.grid.affine)
        self._to_voxel = inverse
        self._per_mm = np.linalg.norm(inverse[:3, :3], axis=1)

    def patch(self, shape: Solid | Tube, track: bool = False) -> Patch | None:
        """The shape on its box of voxels, or nothing where it is outside the grid."""
        if isinstance(shape, Tube):
            return self._tube_patch(shape, track)
        corners = box_points(shape.low, shape.high, 3)
        where = self.grid.box(self.person.to_world(corners), 2.0)
        if where is None:
            return None
        x, y, z = (q[where] for q in self.coordinates)
        return self._patch(where, shape.distance(x, y, z))

    def paint(self, part: Part, masks: dict[int, Mask]) -> None:
        """Paint one part; ``masks`` are the slab's masks of structures inside others."""
        patch = self.patch(part.shape, part.track)
        if patch is None:
            return
        if part.limit:
            limit = self.fields[part.limit][patch.where] + np.float32(part.margin)
            patch = replace(patch, distance=smooth_max(patch.distance, limit, 4.0))
        labels, claim, hu = self.labels[patch.where], self.claim[patch.where], self.hu[patch.where]
        if part.inside:
            won = (patch.distance < 0) & np.isin(labels, part.inside)
            if part.overlap:
                masks[part.overlap][patch.where] |= won
        else:
            score = patch.distance * np.float32(part.weight)
            won = score < claim
            if part.moat:
                edge = np.maximum(patch.distance, patch.distance - claim / np.float32(part.weight))
                rim = (edge >= 0) & (edge < part.moat) & (labels > 0)
                for array, value in ((hu, FAT_HU), (labels, 0), (claim, 0)):
                    np.copyto(array, value, where=rim, casting="unsafe")
            np.copyto(claim, score, where=won)
            label = part.label(patch) if callable(part.label) else np.uint8(part.label)
            np.copyto(labels, label, where=won)
        np.copyto(hu, part.look(patch) if callable(part.look) else np.float32(part.look), where=won)

    def paint_all(self, parts: list[Part], masks: dict[int, Mask]) -> None:
        """Paint parts in their order."""
        for part in parts:
            self.paint(part, masks)

    def harden(self) -> None:
        """Let everything that was painted so far keep its voxels."""
        np.copyto(self.claim, np.float32(-HARD * HARD), where=self.claim < 0)

    def _patch(self, where: Box, distance: Array, along: Array | None = None) -> Patch:
        x, y, z = (q[where] for q in self.coordinates)
        return Patch(grid=self.grid, where=where, x=x, y=y, z=z, distance=distance, along=along)

    def _voxels(self, points: Points) -> Points:
        """Voxel coordinates of rows of anatomy points."""
        return np.asarray(self.person.to_world(points) @ self._to_voxel[:3, :3].T + self._to_voxel[:3, 3])

    def _tube_patch(self, tube: Tube, track: bool) -> Patch | None:
        """Segment by segment, each on its own small box, so that a long thin tube costs little."""
        starts, ends = np.split(self._voxels(np.concatenate([tube.starts, tube.ends])), 2)
        reach = (tube.reach * self.person.stretch + 1.5)[:, None] * self._per_mm
        first = np.maximum(np.ceil(np.minimum(starts, ends) - reach), 0).astype(int)
        last = np.minimum(np.floor(np.maximum(starts, ends) + reach) + 1, self.grid.shape).astype(int)
        used = np.flatnonzero((first < last).all(axis=1))
        if not len(used):
            return None
        low, high = first[used].min(axis=0), last[used].max(axis=0)
        distance = np.full(high - low, FAR, dtype=np.float32)
        along = np.zeros(high - low, dtype=np.float32) if track else None
        for index in used:
            a, b = first[index], last[index]
            box = (slice(a[0], b[0]), slice(a[1], b[1]), slice(a[2], b[2]))
            here = tuple(slice(m - o, n - o) for m, n, o in zip(a, b, low, strict=True))
            value, part = self._segment(tube, int(index), box)
            if along is not None:
                length = np.linalg.norm(tube.ends[index] - tube.starts[index])
                nearer = value < distance[here]
                np.copyto(along[here], np.float32(tube.along[index]) + part * np.float32(length), where=nearer)
            np.minimum(distance[here], value, out=distance[here])
        i, j, k = (slice(int(m), int(n)) for m, n in zip(low, high, strict=True))
        return self._patch((i, j, k), distance, along)

    def _segment(self, tube: Tube, index: int, box: Box) -> tuple[Array, Array]:
        x, y, z = (q[box] for q in self.coordinates)
        start, end = tube.starts[index], tube.ends[index]
        radii = float(tube.start_radii[index]), float(tube.end_radii[index])
        if tube.flat is None:
            return segment_distance(x, y, z, start, end, radii)
        # shrink space along the wide direction; the distance is then a lower bound beyond the narrow sides
        wide = tube.flat[index]
        shrink = np.float32(1 / tube.ratio - 1)
        a, b, c = wide.astype(np.float32)
        over = shrink * (a * x + b * y + c * z - np.float32(wide @ start))
        squeezed = end + (1 / tube.ratio - 1) * float(wide @ (end - start)) * wide
        return segment_distance(x + over * a, y + over * b, z + over * c, start, squeezed, radii)
