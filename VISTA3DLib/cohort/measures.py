"""What is measured of each structure: volume, Hounsfield units, connected parts, contact with the border."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from VISTA3DLib.classes import ClassCatalogue
from VISTA3DLib.cohort.tissues import possible_hu
from VISTA3DLib.files.segments import SegmentToWrite
from VISTA3DLib.geometry import Box, Grid
from VISTA3DLib.results import BoolArray
from VISTA3DLib.volume import Volume


@dataclass(frozen=True, kw_only=True)
class Structure:
    """One structure in one scan. ``mean_hu`` and ``sd_hu`` are over its voxels (None when it has none).

    ``components`` counts parts that touch by faces, edges or corners; ``largest`` is the share of the voxels that is in
    the largest one. ``border``: it reaches the outermost voxels of the scan, so the volume is a part of the true one.
    ``agreement``: share of its voxels with HU that such tissue can have (``tissues``), None where that is unknown.
    """

    class_id: int
    name: str
    voxels: int
    ml: float
    mean_hu: float | None = None
    sd_hu: float | None = None
    components: int = 0
    largest: float | None = None
    border: bool = False
    agreement: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


def measured(segments: Iterable[SegmentToWrite], volume: Volume, catalogue: ClassCatalogue) -> list[Structure]:
    """Measure every segment on the grid of ``volume``, the empty ones too."""
    hounsfield = volume.finite
    return [_measured(segment, hounsfield[segment.box.slices], volume.grid, catalogue) for segment in segments]


def _measured(segment: SegmentToWrite, hounsfield: Any, grid: Grid, catalogue: ClassCatalogue) -> Structure:
    voxels = int(np.count_nonzero(segment.mask))
    if not voxels:
        return Structure(class_id=segment.id, name=segment.name, voxels=0, ml=0.0)
    values = hounsfield[segment.mask].astype(np.float64)
    components, largest = _parts(segment.mask)
    possible = possible_hu(segment.id, catalogue)
    agreement = None if possible is None else float(((values >= possible[0]) & (values <= possible[1])).mean())
    return Structure(
        class_id=segment.id,
        name=segment.name,
        voxels=voxels,
        ml=voxels * grid.voxel_ml,
        mean_hu=float(values.mean()),
        sd_hu=float(values.std()),
        components=components,
        largest=largest / voxels,
        border=touches_border(segment.mask, segment.box, grid),
        agreement=agreement,
    )


def touches_border(mask: BoolArray, box: Box, grid: Grid) -> bool:
    """Whether a mask in its box reaches the first or last voxel of the grid along any axis longer than one voxel."""
    for axis, size in enumerate(grid.shape):
        if size == 1:
            continue
        if box.start[axis] == 0 and mask.take(0, axis=axis).any():
            return True
        if box.stop[axis] == size and mask.take(-1, axis=axis).any():
            return True
    return False


def _parts(mask: BoolArray) -> tuple[int, int]:
    """Number of 26-connected parts and the voxels of the largest."""
    import cc3d

    # A border of background: cc3d 4.1 raises for some masks of a few voxels without one ([1, 0, 1], for example). The
    # copy serves another purpose, too: what comes through shared memory is read-only, which cc3d refuses.
    labels, count = cc3d.connected_components(np.pad(mask, 1), connectivity=26, return_N=True)
    sizes = np.bincount(labels.ravel(order="K"))
    return int(count), int(sizes[1:].max())
