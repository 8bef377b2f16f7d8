"""From loose planes to a regular stack: sorted in space, checked for gaps, doubles and mixtures."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np

from VISTA3DLib.errors import ReadError
from VISTA3DLib.files.dicom_header import PARSE_ERRORS, DicomFile, Plane
from VISTA3DLib.files.image_file import unreadable
from VISTA3DLib.geometry import FloatArray, Grid, flip_lps_ras, format_vector

_DOUBLE = 0.02  # of the usual distance: planes closer than this lie at the same place
_UNEVEN = 0.1  # of the usual distance: how far a plane may be from where an even spacing puts it
_MOST_NAMED = 3


@dataclass(frozen=True, kw_only=True, eq=False)
class Image:
    """A plane and the file that it is in."""

    file: DicomFile
    plane: Plane

    @property
    def name(self) -> str:
        """Name of the file, with the frame if the file has several."""
        frame = f" frame {self.plane.frame + 1}" if len(self.file.planes) > 1 else ""
        return self.file.path.name + frame


@dataclass(frozen=True, kw_only=True, eq=False)
class Stack:
    """Planes of one series in the order of space, evenly spaced; ``images[k]`` is slice k of ``grid``."""

    images: tuple[Image, ...]
    grid: Grid

    @property
    def paths(self) -> tuple[Path, ...]:
        """The files in slice order, each once."""
        return tuple(dict.fromkeys(image.file.path for image in self.images))


class NotAVolumeError(ReadError):
    """The images of a series do not extend in depth (bolus tracking, a single slice of unknown thickness)."""


def stacked(files: Sequence[DicomFile]) -> Stack:
    """Sort the planes of one series. Every file must have planes.

    Raises ``ReadError``, naming the files, for a missing slice or an uneven spacing, for images of different size or
    direction, and for different images at the same place (several phases in one series). The same image twice is used
    once. Planes may be shifted against each other (a tilted gantry): the grid is sheared then.
    """
    images = _same_shape([Image(file=file, plane=plane) for file in files for plane in file.planes])
    normal = images[0].plane.normal
    images.sort(key=lambda image: float(image.plane.position @ normal))
    images = _without_doubles(images, normal)
    step = _step(images, normal)
    first = images[0].plane
    affine = np.eye(4)
    affine[:3, 0], affine[:3, 1], affine[:3, 2], affine[:3, 3] = first.row, first.column, step, first.position
    shape = (images[0].file.columns, images[0].file.rows, len(images))
    return Stack(images=tuple(images), grid=Grid(shape=shape, affine=flip_lps_ras(affine)))


def _same_shape(images: list[Image]) -> list[Image]:
    groups: dict[tuple[object, ...], list[Image]] = {}
    for image in images:
        steps = np.round(np.concatenate([image.plane.row, image.plane.column]), 3) + 0.0
        groups.setdefault((image.file.rows, image.file.columns, *steps), []).append(image)
    if len(groups) == 1:
        return images
    parts = []
    for group in sorted(groups.values(), key=len, reverse=True)[:4]:
        file, plane = group[0].file, group[0].plane
        spacing = format_vector([float(np.linalg.norm(step)) for step in (plane.row, plane.column)])
        facing = _facing(plane.normal)
        parts.append(f"{len(group)} {facing} {file.columns} x {file.rows} of {spacing} mm (as {group[0].name})")
    raise ReadError(
        f"The series mixes images of {len(groups)} sizes or directions: {'; '.join(parts)}.",
        "Move those that do not belong to the CT to another folder.",
    )


def _facing(normal: FloatArray) -> str:
    main = int(np.argmax(np.abs(normal)))
    return ("sagittal", "coronal", "axial")[main] if abs(normal[main]) > 0.8 else "oblique"


def _without_doubles(images: list[Image], normal: FloatArray) -> list[Image]:
    depth = np.array([image.plane.position @ normal for image in images])
    distances = np.diff(depth)
    apart = distances[distances > 1e-3]
    if apart.size == 0 and len(images) > 1:
        if _all_equal(images):
            return images[:1]
        raise NotAVolumeError(
            f"All {len(images)} images of the series lie at the same place.", "Choose another series."
        )
    usual = float(np.median(apart)) if apart.size else 0.0
    kept, doubles = [images[0]], []
    for image, distance in zip(images[1:], distances, strict=True):
        if distance > _DOUBLE * usual:
            kept.append(image)
        elif not _all_equal([kept[-1], image]):
            doubles.append((kept[-1], image))
    if doubles:
        raise _phases_error(images, doubles)
    return kept


def _all_equal(images: Sequence[Image]) -> bool:
    """Whether all show the same: the same instance, or files with the same pixels."""
    if any(len(image.file.planes) > 1 for image in images):
        return False
    pixels = None
    for image in images:
        bytes_of_image = _pixel_bytes(image.file.path)
        if pixels is not None and bytes_of_image != pixels:
            return False
        pixels = bytes_of_image
    return True


def _pixel_bytes(path: Path) -> bytes | None:
    from pydicom import dcmread

    try:
        return bytes(dcmread(path, force=True, specific_tags=["PixelData"]).get("PixelData") or b"") or None
    except PARSE_ERRORS as error:
        raise unreadable(path, error, "a DICOM image") from error


def _phases_error(images: Sequence[Image], doubles: Sequence[tuple[Image, Image]]) -> ReadError:
    one, other = doubles[0]
    keys = [key for key in one.plane.phase if all(a.plane.phase[key] != b.plane.phase.get(key) for a, b in doubles)]
    parts = ""
    if keys:
        counts = Counter(image.plane.phase.get(keys[0], "none") for image in images)
        shown = ", ".join(f"{value} ({count} images)" for value, count in list(counts.items())[:6])
        parts = f" They differ in {keys[0]}: {shown}."
    return ReadError(
        f"The series has different images at the same place ({one.name} and {other.name}, and {len(doubles) - 1} more "
        f"pairs): several phases or reconstructions in one.{parts}",
        "Put the images of one phase into a folder of their own and read that.",
    )


def _step(images: Sequence[Image], normal: FloatArray) -> FloatArray:
    """The vector from one plane to the next (LPS mm), or ``ReadError`` if the planes are not evenly spaced."""
    positions = np.array([image.plane.position for image in images])
    if len(images) == 1:
        thickness = images[0].plane.thickness
        if not thickness:
            raise NotAVolumeError(
                f"The series has one image only ({images[0].name}) and no slice thickness.", "Choose another series."
            )
        return np.asarray(normal * thickness)
    step = np.asarray((positions[-1] - positions[0]) / (len(images) - 1))
    expected = positions[0] + np.arange(len(images))[:, None] * step
    usual = float(np.median(np.diff(positions @ normal)))
    if np.linalg.norm(positions - expected, axis=1).max() <= _UNEVEN * usual:
        return step
    raise _uneven_error(images, positions, normal, usual)


def _uneven_error(images: Sequence[Image], positions: FloatArray, normal: FloatArray, usual: float) -> ReadError:
    steps = np.diff(positions, axis=0)
    typical = np.median(steps, axis=0)
    odd = [n for n, step in enumerate(steps) if np.linalg.norm(step - typical) > _UNEVEN * usual]
    pairs = list(pairwise(images))
    parts = []
    for n in odd[:_MOST_NAMED]:
        gap, (one, other) = float(steps[n] @ normal), pairs[n]
        missing = round(gap / usual) - 1
        whole = missing > 0 and abs(gap / usual - missing - 1) < 0.2
        what = f"{missing} slice{'s' * (missing > 1)} missing" if whole else "uneven"
        between = format_vector(one.plane.position), format_vector(other.plane.position)
        parts.append(f"{gap:.4g} mm between {one.name} at {between[0]} and {other.name} at {between[1]} ({what})")
    more = f" and {len(odd) - _MOST_NAMED} more places" if len(odd) > _MOST_NAMED else ""
    detail = "; ".join(parts) or "the distances drift"
    return ReadError(
        f"The slices are not evenly spaced: usually {usual:.4g} mm, but {detail}{more}. Positions are in LPS mm.",
        "Copy the missing slices again, or resample the series to an even spacing first.",
    )
