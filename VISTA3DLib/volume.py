"""A CT as the library sees it: voxels, their place in the world, and what is suspicious about them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from VISTA3DLib.errors import VolumeError
from VISTA3DLib.geometry import Grid, format_shape, format_vector

AIR_HU = -1024.0
_MAX_VOXELS = 2**34  # 17 Gvox: beyond this an int16 copy alone takes 32 GB


@dataclass(frozen=True, kw_only=True, eq=False)
class Volume:
    """A scalar image ``array[i, j, k]`` with ``affine`` (4x4, voxel->RAS mm).

    ``array`` becomes int16 where the values are whole numbers that fit, else float32; memory order is kept, so a view
    of ITK's ``[k, j, i]`` buffer costs nothing. ``source_files`` are the DICOM files it came from, if any, in slice
    order. Raises ``VolumeError`` for arrays that are not 3D, are empty, or hold no number at all.
    """

    array: npt.NDArray[Any]
    affine: npt.NDArray[np.float64]
    name: str = "CT"
    modality: str = "CT"
    source_files: tuple[Path, ...] = ()
    grid: Grid = field(init=False, repr=False)

    def __post_init__(self) -> None:
        array = np.asarray(self.array)
        if array.ndim != 3:
            raise VolumeError(
                f"The image has {array.ndim} dimensions (size {format_shape(array.shape)}), not 3.",
                "Choose one frame of a sequence, one channel of a colour image, or a stack of slices.",
            )
        if array.size > _MAX_VOXELS:
            raise VolumeError(
                f"The image has {array.size / 1e9:.1f} billion voxels ({format_shape(array.shape)}).",
                "Crop it or resample it to a larger spacing first.",
            )
        grid = Grid(shape=array.shape, affine=self.affine)
        object.__setattr__(self, "grid", grid)
        object.__setattr__(self, "affine", grid.affine)
        object.__setattr__(self, "array", _as_int16_or_float32(array))

    @cached_property
    def finite(self) -> npt.NDArray[Any]:
        """The array with NaN and infinite voxels set to air (-1024 HU); the array itself when there are none."""
        if self.array.dtype != np.float32:
            return self.array
        bad = ~np.isfinite(self.array)
        if not bad.any():
            return self.array
        if bad.all():
            raise VolumeError("No voxel of the image holds a number: all are NaN or infinite.", "Load it again.")
        return np.where(bad, np.float32(AIR_HU), self.array)


@dataclass(frozen=True, kw_only=True)
class Finding:
    """Something to know about a volume before a run. ``code`` is stable, ``message`` is for reading."""

    code: str
    message: str
    values: Mapping[str, float] = field(default_factory=dict)


def inspect_volume(volume: Volume, *, hounsfield: bool = True) -> tuple[Finding, ...]:
    """Look for what makes results poor: NaN voxels, values that are not HU, an all-air or very small field.

    Reads a subsample of at most about two million voxels. ``hounsfield=False`` skips the checks of CT numbers (MR).
    """
    steps = [max(1, round(n / 128)) for n in volume.array.shape]
    sample = volume.array[:: steps[0], :: steps[1], :: steps[2]]
    return tuple(
        f
        for f in (
            _not_finite(volume),
            _not_hounsfield(sample) if hounsfield else None,
            _small_field(volume),
            _odd_spacing(volume),
            _sheared(volume),
            _not_ct(volume) if hounsfield else None,
        )
        if f
    )


def _not_finite(volume: Volume) -> Finding | None:
    if volume.array.dtype != np.float32:
        return None
    bad = int(np.count_nonzero(~np.isfinite(volume.array)))
    if not bad:
        return None
    return Finding(
        code="not-finite",
        message=f"{bad:,} voxels are NaN or infinite and are taken as air ({AIR_HU:g} HU).",
        values={"voxels": bad},
    )


def _not_hounsfield(sample: npt.NDArray[Any]) -> Finding | None:
    finite = sample[np.isfinite(sample)]
    if finite.size == 0:
        return None
    low, high = float(finite.min()), float(finite.max())
    values = {"minimum": low, "maximum": high}
    if low == high:
        return Finding(code="constant", message=f"Every voxel has the value {low:g}: there is nothing to segment.")
    if low >= -1.5 and high <= 1.5:
        text = (
            f"The values ({low:.3g} to {high:.3g}) look scaled, not like Hounsfield units; results will be poor. "
            "Load the original CT."
        )
    elif low >= 0.0:
        text = (
            f"No voxel is below 0 (values {low:g} to {high:g}): Hounsfield units have air at -1000. The rescale "
            "intercept may be missing (often -1024); results will be poor."
        )
    elif high < -200.0:
        text = f"The highest value is {high:g} HU: the volume seems to hold air only."
        return Finding(code="all-air", message=text, values=values)
    else:
        return None
    return Finding(code="not-hounsfield", message=text, values=values)


def _small_field(volume: Volume) -> Finding | None:
    extent = [n * s for n, s in zip(volume.grid.shape, volume.grid.spacing, strict=True)]
    if min(extent) >= 30.0:
        return None
    text = f"The field of view is {format_vector(extent)} mm; the model sees 192 mm at once and may miss context."
    return Finding(code="small-field", message=text, values={"shortest_mm": min(extent)})


def _odd_spacing(volume: Volume) -> Finding | None:
    spacing = volume.grid.spacing
    if max(spacing) <= 10.0 and min(spacing) >= 0.05:
        return None
    text = f"The voxel spacing is {format_vector(spacing)} mm, which is unusual for a CT: check the image's header."
    return Finding(code="odd-spacing", message=text, values={"largest_mm": max(spacing), "smallest_mm": min(spacing)})


def _sheared(volume: Volume) -> Finding | None:
    if volume.grid.is_orthogonal():
        return None
    text = "The image axes are not perpendicular (tilted gantry): it is straightened for the model and back."
    return Finding(code="sheared", message=text)


def _not_ct(volume: Volume) -> Finding | None:
    if volume.modality.upper() in {"CT", ""}:
        return None
    text = f"The modality is {volume.modality}, not CT: this model was trained on CT only."
    return Finding(code="not-ct", message=text)


def _as_int16_or_float32(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    kind = array.dtype.kind
    if array.dtype == np.int16 or array.dtype == np.float32:
        return array
    if kind in "iu":
        limits = np.iinfo(np.int16)
        fits = array.dtype.itemsize == 1 or (array.min() >= limits.min and array.max() <= limits.max)
        return array.astype(np.int16 if fits else np.float32)
    if kind == "f":
        return array.astype(np.float32)
    if kind == "b":
        return array.astype(np.int16)
    raise VolumeError(f"The voxels have the type {array.dtype}, which is no scalar number.", "Load a grey-value image.")
