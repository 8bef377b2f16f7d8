"""What the tests of files make: DICOM series of every kind, results with overlapping classes, a full disk."""

from __future__ import annotations

import random
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from odd_volumes import odd_affine
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import UID, CTImageStorage, EnhancedCTImageStorage, ExplicitVRLittleEndian, generate_uid
from scipy.spatial.transform import Rotation

from VISTA3DLib.files.segments import tight
from VISTA3DLib.results import ClassesResult, MaskResult
from VISTA3DLib.volume import Volume

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]
SMALL = (11, 13, 9)
TILT = np.array([[0.8, 0, 0], [0, 0.7, -0.9], [0, 0, 2.5]])  # a gantry that leans by 20 degrees
LIVER, SPLEEN, RIGHT_KIDNEY, AORTA, VESSEL, TUMOR, RIB = 1, 3, 5, 6, 25, 26, 63


def rotation(*degrees: float) -> FloatArray:
    """A rotation about x, y and z."""
    return np.asarray(Rotation.from_euler("xyz", degrees, degrees=True).as_matrix())


@dataclass(kw_only=True)
class SeriesMaker:
    """Writes a CT series. ``hu`` is ``[k, j, i]``; the columns of ``axes`` (LPS, mm) are the steps along i, j and k."""

    hu: npt.NDArray[Any]
    axes: FloatArray = field(default_factory=lambda: np.diag([0.8, 0.7, 2.5]))
    origin: Sequence[float] = (-100.5, -80.25, 300.0)
    slope: float = 1.0
    intercept: float = -1024.0
    signed: bool = False
    bits_stored: int = 16
    syntax: UID = ExplicitVRLittleEndian
    uid: str = field(default_factory=generate_uid)
    study: str = "1.2.826.0.1.3680043.8.498.1"
    frame_of_reference: str = "1.2.826.0.1.3680043.8.498.2"
    description: str = "abdomen 2.5"
    number: int = 3
    extra: Mapping[str, Any] = field(default_factory=dict)

    @property
    def affine(self) -> FloatArray:
        """Voxel->RAS, worked out here a second time."""
        matrix = np.eye(4)
        matrix[:3, :3], matrix[:3, 3] = self.axes, self.origin
        return np.diag([-1.0, -1.0, 1.0, 1.0]) @ matrix

    def stored(self, k: int) -> npt.NDArray[Any]:
        """The values in the file of slice k."""
        values = np.round((self.hu[k] - self.intercept) / self.slope)
        return values.astype(np.int16 if self.signed else np.uint16)

    def dataset(self, k: int, **changes: Any) -> FileDataset:
        """The data set of slice k."""
        dataset = self._base(CTImageStorage)
        dataset.ImagePositionPatient = [float(v) for v in np.asarray(self.origin) + k * self.axes[:, 2]]
        dataset.ImageOrientationPatient, dataset.PixelSpacing = self._orientation(), self._pixel_spacing()
        dataset.SliceThickness = 2.5
        dataset.RescaleSlope, dataset.RescaleIntercept = self.slope, self.intercept
        dataset.InstanceNumber = len(self.hu) - k
        dataset.AcquisitionNumber = 1
        self._pixels(dataset, self.stored(k))
        for keyword, value in {**self.extra, **changes}.items():
            setattr(dataset, keyword, value)
        if self.syntax != ExplicitVRLittleEndian:
            dataset.compress(self.syntax, generate_instance_uid=False)
        return dataset

    def write(self, folder: Path, *, leave_out: Sequence[int] = (), prefix: str = "") -> dict[int, Path]:
        """Write all slices under names that say nothing about their order; slice number -> path."""
        folder.mkdir(parents=True, exist_ok=True)
        names = list(range(len(self.hu)))
        random.Random(0).shuffle(names)
        paths = {k: folder / f"{prefix}IM{names[k]:04d}" for k in range(len(self.hu)) if k not in leave_out}
        for k, path in paths.items():
            self.dataset(k).save_as(path)
        return paths

    def write_enhanced(self, path: Path, order: Sequence[int]) -> None:
        """Write one multi-frame file with the slices in this order."""
        dataset = self._base(EnhancedCTImageStorage)
        dataset.NumberOfFrames = len(order)
        self._pixels(dataset, np.stack([self.stored(k) for k in order]))
        shared, measures, orientation, transformation = Dataset(), Dataset(), Dataset(), Dataset()
        measures.PixelSpacing, measures.SliceThickness = self._pixel_spacing(), 2.5
        orientation.ImageOrientationPatient = self._orientation()
        transformation.RescaleSlope, transformation.RescaleIntercept = self.slope, self.intercept
        transformation.RescaleType = "HU"
        shared.PixelMeasuresSequence, shared.PlaneOrientationSequence = [measures], [orientation]
        shared.PixelValueTransformationSequence = [transformation]
        dataset.SharedFunctionalGroupsSequence = [shared]
        frames = []
        for k in order:
            frame, position = Dataset(), Dataset()
            position.ImagePositionPatient = [float(v) for v in np.asarray(self.origin) + k * self.axes[:, 2]]
            frame.PlanePositionSequence = [position]
            frames.append(frame)
        dataset.PerFrameFunctionalGroupsSequence = frames
        dataset.save_as(path)

    def _base(self, kind: UID) -> FileDataset:
        meta = FileMetaDataset()
        meta.TransferSyntaxUID = ExplicitVRLittleEndian
        meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = kind, generate_uid()
        dataset = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
        dataset.SpecificCharacterSet = "ISO_IR 100"
        dataset.SOPClassUID, dataset.SOPInstanceUID = kind, meta.MediaStorageSOPInstanceUID
        dataset.StudyInstanceUID, dataset.SeriesInstanceUID = self.study, self.uid
        dataset.FrameOfReferenceUID = self.frame_of_reference
        dataset.Modality, dataset.ImageType = "CT", ["ORIGINAL", "PRIMARY", "AXIAL"]
        dataset.SeriesDescription, dataset.SeriesNumber = self.description, self.number
        dataset.PatientName, dataset.PatientID = "Müller^Jörg", "4711"
        return dataset

    def _pixels(self, dataset: Dataset, stored: npt.NDArray[Any]) -> None:
        dataset.Rows, dataset.Columns = stored.shape[-2:]
        dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
        dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 16, self.bits_stored, self.bits_stored - 1
        dataset.PixelRepresentation = int(self.signed)
        dataset.PixelData = stored.tobytes()
        dataset["PixelData"].VR = "OW"

    def _orientation(self) -> list[float]:
        directions = self.axes / np.linalg.norm(self.axes, axis=0)
        return [float(f"{v:.12g}") for v in directions[:, :2].T.ravel()]

    def _pixel_spacing(self) -> list[float]:
        between_columns, between_rows = np.linalg.norm(self.axes[:, :2], axis=0)
        return [float(between_rows), float(between_columns)]


def ct_values(shape: tuple[int, int, int] = (9, 12, 10), seed: int = 0) -> npt.NDArray[np.int16]:
    """HU ``[k, j, i]`` that differ everywhere."""
    return np.random.default_rng(seed).integers(-1024, 3000, size=shape, dtype=np.int16)


def ball(shape: tuple[int, int, int], center: tuple[float, float, float], radius: float) -> BoolArray:
    """A ball of voxels."""
    index = np.stack(np.meshgrid(*[np.arange(n) for n in shape], indexing="ij"), axis=-1)
    return np.asarray(((index - np.array(center)) ** 2).sum(axis=-1) <= radius**2)


def nested(shape: tuple[int, int, int]) -> dict[int, BoolArray]:
    """A liver with a vessel and a tumour in it that overlap as well, and an aorta in two parts beside it."""
    middle = (shape[0] / 2, shape[1] / 2 - 0.5, shape[2] / 2 - 0.5)
    beside = (middle[0], middle[1] + 1, middle[2])
    return {
        LIVER: ball(shape, middle, 3.4),
        VESSEL: ball(shape, middle, 1.9),
        TUMOR: ball(shape, beside, 1.5),
        AORTA: ball(shape, (1, 1, 1), 1.2) | ball(shape, (1, 1, shape[2] - 2), 1.2),
    }


def overlapping_result(volume: Volume, masks: Mapping[int, BoolArray]) -> ClassesResult:
    """A result with a mask a class."""
    parts = {}
    for class_id, mask in masks.items():
        box, inside = tight(volume.grid.box, mask)
        parts[class_id] = MaskResult(grid=volume.grid, box=box, mask=inside, model="mini", class_id=class_id)
    return ClassesResult(grid=volume.grid, class_ids=tuple(masks), model="mini", masks=parts)


def a_volume(kind: str = "oblique") -> Volume:
    """A small volume of one of the odd geometries."""
    return Volume(array=np.zeros(SMALL, dtype=np.int16), affine=odd_affine(kind), name=kind)


def labels_of(ids: tuple[int, ...] = (LIVER, AORTA, RIB), dtype: npt.DTypeLike = np.uint8) -> npt.NDArray[Any]:
    """A label map of the small volume with up to three boxes."""
    labels = np.zeros(SMALL, dtype=dtype)
    for number, class_id in enumerate(ids):
        labels[1 + 3 * number : 3 + 3 * number, 2 : 9 - number, 1 + number : 7] = class_id
    return labels


def classes_result(volume: Volume, labels: npt.NDArray[Any], ids: tuple[int, ...]) -> ClassesResult:
    """A result with one label a voxel."""
    return ClassesResult(grid=volume.grid, class_ids=ids, model="mini", labelmap=labels)


@contextmanager
def small_disk(place: Path, size: str) -> Iterator[Path]:
    """A file system of this size (``64k``), mounted for a while; skips the test where that is not allowed."""
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(place)]
    try:
        allowed = subprocess.run(command, capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        allowed = False
    if not allowed:
        pytest.skip("only root can mount a small disk")
    try:
        yield place
    finally:
        subprocess.run(["umount", "--lazy", str(place)], check=True)  # an error may hold a file open
