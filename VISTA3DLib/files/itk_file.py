"""MetaImage and every other format that ITK knows, read with SimpleITK."""

from __future__ import annotations

import locale
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from VISTA3DLib.errors import VolumeError
from VISTA3DLib.files.image_file import ImageFile, check_room, no_image, three_axes, unreadable
from VISTA3DLib.geometry import flip_lps_ras, format_shape, reverse_axes


def read_itk(path: Path) -> ImageFile:
    """Read an image with ITK. Sheared axes are kept (MetaImage); the array is a view in ITK's memory order.

    Raises ``ReadError`` if no reader of ITK takes the file, ``VolumeError`` for colours, vectors, 2D and 4D images.
    """
    import SimpleITK as sitk  # noqa: N813 - the name that everybody uses

    with _kept_locale():
        image = _read(path, sitk.ImageFileReader())
    affine = np.eye(4)
    dimension = image.GetDimension()
    direction = np.array(image.GetDirection()).reshape(dimension, dimension)
    affine[:3, :3] = direction[:3, :3] * np.array(image.GetSpacing()[:3])
    affine[:3, 3] = image.GetOrigin()[:3]
    voxels = sitk.GetArrayFromImage(image)
    voxels = voxels.transpose() if dimension > 3 else reverse_axes(voxels)
    return ImageFile(array=three_axes(voxels), affine=flip_lps_ras(affine))


def _read(path: Path, reader: Any) -> Any:
    """The image of a file, after its header was looked at."""
    if not reader.GetImageIOFromFileName(str(path)):
        raise no_image(path)
    reader.SetFileName(str(path))
    try:
        reader.ReadImageInformation()
        size, channels = reader.GetSize(), reader.GetNumberOfComponents()
        if channels > 1:
            raise VolumeError(
                f"The image has {channels} values in each voxel (a colour or a vector).", "Load a grey-value image."
            )
        if len(size) < 3:
            raise VolumeError(
                f"The image has 2 dimensions (size {format_shape(size)}), not 3.", "Load a stack of slices."
            )
        check_room(path, size, 2)  # at least: the pixel type is known when it is read
        return reader.Execute()
    except RuntimeError as error:  # what SimpleITK raises for everything
        raise unreadable(path, error) from error


@contextmanager
def _kept_locale() -> Iterator[None]:
    """ITK's reader of VTK files leaves the whole process in the C locale, where Python writes and reads ASCII only."""
    before = locale.setlocale(locale.LC_ALL)
    try:
        yield
    finally:
        locale.setlocale(locale.LC_ALL, before)
