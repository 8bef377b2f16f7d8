"""Masks on an endless lattice of voxels, kept in tight boxes, and brought from one lattice to another."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import slicer
from vtk.util.numpy_support import get_vtk_array_type, numpy_to_vtk, vtk_to_numpy

from VISTA3DLib.geometry import Box, FloatArray, reverse_axes
from VISTA3DScene.frames import FrameMap, array_to_matrix, matrix_of_image

BoolArray = npt.NDArray[np.bool_]
EMPTY_BOX = Box(start=(0, 0, 0), stop=(0, 0, 0))
_SAMPLES = 13  # points along each axis of a box that a non-linear transform is looked at in


@dataclass(frozen=True, kw_only=True, eq=False)
class LatticeMask:
    """A mask in ``box`` of a lattice, background outside; ``affine`` takes voxel indices to the node's own RAS."""

    affine: FloatArray
    box: Box
    mask: BoolArray

    @classmethod
    def empty(cls, affine: FloatArray) -> LatticeMask:
        """A mask without a voxel."""
        return cls(affine=affine, box=EMPTY_BOX, mask=np.zeros((0, 0, 0), dtype=bool))

    @property
    def voxels(self) -> int:
        """Number of voxels that are set."""
        return int(np.count_nonzero(self.mask))

    @property
    def ml(self) -> float:
        """Volume of the voxels that are set."""
        return self.voxels * float(abs(np.linalg.det(self.affine[:3, :3]))) / 1000.0

    def tight(self) -> LatticeMask:
        """The same voxels in the smallest box."""
        inner = box_of(self.mask)
        if not inner.size:
            return LatticeMask.empty(self.affine)
        return LatticeMask(affine=self.affine, box=inner.shifted(self.box.start), mask=self.mask[inner.slices])

    def inside(self, box: Box) -> BoolArray:
        """The voxels of ``box`` as an array of its shape, a copy."""
        out = np.zeros(box.shape, dtype=bool)
        both = self.box & box
        if both.size:
            out[local(both, box).slices] = self.mask[local(both, self.box).slices]
        return out

    def changed(self, on: LatticeMask, off: LatticeMask) -> LatticeMask:
        """The mask with the voxels of ``on`` set and those of ``off`` cleared (same lattice), tight."""
        box = self.box | on.box
        mask = self.inside(box) | on.inside(box)
        mask &= ~off.inside(box)
        return LatticeMask(affine=self.affine, box=box, mask=mask).tight()


def local(box: Box, outer: Box) -> Box:
    """A box counted from the corner of another."""
    return box.shifted([-v for v in outer.start])


def box_of(mask: BoolArray) -> Box:
    """The smallest box around the voxels of a mask; as ``Box.of_mask``, but quick for large arrays of either order."""
    if mask.size < 2**18 or mask.flags.c_contiguous:
        return Box.of_mask(mask)
    flipped = reverse_axes(mask)  # memory runs along i: look at it slice by slice, as it lies
    rows, columns = np.zeros(flipped.shape[1], dtype=bool), np.zeros(flipped.shape[2], dtype=bool)
    slices = np.zeros(flipped.shape[0], dtype=bool)
    for n, part in enumerate(flipped):
        hit = part.any(axis=1)
        if hit.any():
            slices[n] = True
            rows |= hit
            columns |= part.any(axis=0)
    if not slices.any():
        return EMPTY_BOX
    ends = [np.flatnonzero(axis)[[0, -1]] for axis in (columns, rows, slices)]
    (i0, i1), (j0, j1), (k0, k1) = ends
    return Box(start=(i0, j0, k0), stop=(i1 + 1, j1 + 1, k1 + 1))


def difference(old: LatticeMask, new: LatticeMask) -> tuple[LatticeMask, LatticeMask]:
    """What came and what went between two masks of one lattice, both tight."""
    box = old.box | new.box
    before, after = old.inside(box), new.inside(box)
    came = LatticeMask(affine=new.affine, box=box, mask=after & ~before).tight()
    return came, LatticeMask(affine=new.affine, box=box, mask=before & ~after).tight()


def image_box(image: Any) -> Box:
    """The extent of an oriented image as a box."""
    e = image.GetExtent()
    return Box(start=(e[0], e[2], e[4]), stop=(e[1] + 1, e[3] + 1, e[5] + 1))


def image_values(image: Any) -> npt.NDArray[Any]:
    """The values of an oriented image as a view ``[i, j, k]`` of its memory."""
    i, j, k = image_box(image).shape
    return reverse_axes(vtk_to_numpy(image.GetPointData().GetScalars()).reshape(k, j, i))


def oriented_image(affine: FloatArray, box: Box, values: npt.NDArray[Any]) -> Any:
    """A ``vtkOrientedImageData`` with ``values`` ([i, j, k]; bool, uint8, int16 or uint16) in ``box`` of a lattice."""
    image = slicer.vtkOrientedImageData()
    image.SetGeometryFromImageToWorldMatrix(array_to_matrix(affine))
    fill_image(image, box, values)
    return image


def blank_image(affine: FloatArray, box: Box, dtype: npt.DTypeLike) -> Any:
    """A ``vtkOrientedImageData`` in ``box`` of a lattice, whose values are still to be written."""
    image = slicer.vtkOrientedImageData()
    image.SetGeometryFromImageToWorldMatrix(array_to_matrix(affine))
    _set_box(image, box)
    image.AllocateScalars(get_vtk_array_type(dtype), 1)
    return image


def fill_image(image: Any, box: Box, values: npt.NDArray[Any]) -> None:
    """Give an oriented image another box and other values; it stays the same object."""
    _set_box(image, box)
    kind = values.dtype if values.dtype in (np.uint8, np.uint16, np.int16) else np.uint8
    flat = np.ascontiguousarray(reverse_axes(values), dtype=kind).ravel()
    scalars = numpy_to_vtk(flat, deep=True)
    scalars.SetName("ImageScalars")
    image.GetPointData().SetScalars(scalars)


def _set_box(image: Any, box: Box) -> None:
    image.SetExtent([v for a, b in zip(box.start, box.stop, strict=True) for v in (a, b - 1)])


def on_lattice(
    mask: LatticeMask, affine: FloatArray, *, bounds: Box | None = None, frame: FrameMap | None = None
) -> LatticeMask:
    """Bring a mask to another lattice (nearest voxel), cut to ``bounds``.

    ``frame`` leads from the mask's frame to the target's. Lattices that differ by whole voxels are shifted; others are
    sampled by Slicer's own resampling, in one go, also through non-linear transforms.
    """
    if not mask.box.size:
        return LatticeMask.empty(affine)
    offset = whole_voxel_offset(mask.affine, affine, mask.box, frame)
    if offset is not None:
        return _shifted(mask, affine, offset, bounds)
    linear = np.eye(4) if frame is None else frame.matrix
    if linear is not None:
        cover = _covering(mask.box, np.asarray(np.linalg.solve(affine, linear @ mask.affine)))
    else:
        assert frame is not None
        cover = _covering_through(mask, affine, frame)
    cover = cover if bounds is None else cover & bounds
    if not cover.size:
        return LatticeMask.empty(affine)
    image = oriented_image(mask.affine, mask.box.grown(1), mask.inside(mask.box.grown(1)))
    reference = oriented_image(affine, cover, np.zeros(cover.shape, dtype=np.uint8))
    result = slicer.vtkOrientedImageData()
    resample = slicer.vtkOrientedImageDataResample.ResampleOrientedImageToReferenceOrientedImage
    resample(image, reference, result, False, False, None if frame is None else frame.transform)
    return LatticeMask(affine=affine, box=image_box(result), mask=image_values(result) != 0).tight()


def image_affine(image: Any) -> FloatArray:
    """Voxel index to RAS of an oriented image."""
    return matrix_of_image(image)


def whole_voxel_offset(
    source: FloatArray, target: FloatArray, box: Box, frame: FrameMap | None
) -> tuple[int, int, int] | None:
    """By how many voxels ``target``'s indices are ahead of ``source``'s, if that is all the difference in a box.

    None if the lattices are turned, scaled or shifted by fractions to each other (more than a fiftieth of a voxel).
    """
    linear = np.eye(4) if frame is None else frame.matrix
    if linear is None:
        return None
    steps = np.linalg.solve(target, linear @ source)
    corners = np.array([[i, j, k, 1.0] for i, j, k in np.ndindex(2, 2, 2)])
    corners[:, :3] = np.asarray(box.start) + corners[:, :3] * np.asarray(box.shape)
    moves = (corners @ steps.T - corners)[:, :3]
    offset = np.round(moves[0])
    if np.abs(moves - offset).max() > 0.02:
        return None
    i, j, k = (int(v) for v in offset)
    return i, j, k


def _shifted(mask: LatticeMask, affine: FloatArray, offset: tuple[int, int, int], bounds: Box | None) -> LatticeMask:
    box = mask.box.shifted(offset)
    both = box if bounds is None else box & bounds
    if not both.size:
        return LatticeMask.empty(affine)
    return LatticeMask(affine=affine, box=both, mask=mask.mask[local(both, box).slices])


def _covering(box: Box, matrix: FloatArray) -> Box:
    ends = [(a - 0.5, b - 0.5) for a, b in zip(box.start, box.stop, strict=True)]
    corners = np.array([[i, j, k, 1.0] for i in ends[0] for j in ends[1] for k in ends[2]]) @ matrix.T
    return _around(corners[:, :3], 0)


def _covering_through(mask: LatticeMask, affine: FloatArray, frame: FrameMap) -> Box:
    axes = [np.linspace(a - 0.5, b - 0.5, _SAMPLES) for a, b in zip(mask.box.start, mask.box.stop, strict=True)]
    index = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)
    there = frame.apply(index @ mask.affine[:3, :3].T + mask.affine[:3, 3])
    inverse = np.linalg.inv(affine)
    # Between the samples the border may bulge: a margin of a sample's distance.
    margin = 2 + int(np.ceil(max(mask.box.shape) / (_SAMPLES - 1)))
    return _around(there @ inverse[:3, :3].T + inverse[:3, 3], margin)


def _around(points: FloatArray, margin: int) -> Box:
    low, high = np.floor(points.min(axis=0) + 0.5) - margin, np.ceil(points.max(axis=0) + 0.5) + margin
    (i0, j0, k0), (i1, j1, k1) = low.astype(int), high.astype(int)
    return Box(start=(i0, j0, k0), stop=(i1, j1, k1))
