"""From what a person names as input to the list of scans: a folder, a tree of DICOM studies, a table."""

from __future__ import annotations

from fnmatch import fnmatch
from pathlib import Path

from VISTA3DLib.cohort.find_dicom import DicomFinder
from VISTA3DLib.cohort.find_listed import LIST_SUFFIXES, listed_scans
from VISTA3DLib.cohort.scan import Found, LeftOut, Scan, folder_id, id_of, unique_id
from VISTA3DLib.cohort.storage import Store, split
from VISTA3DLib.errors import ReadError
from VISTA3DLib.files.image_file import suffix_of
from VISTA3DLib.progress import ProgressCallback, Tracker

IMAGE_SUFFIXES = (".nii.gz", ".nii", ".nrrd", ".nhdr", ".mha", ".mhd")
_SEGMENTATIONS = (".seg.nrrd", ".seg.nhdr")


def find_scans(
    source: str | Path, *, match: str = "", one_per_study: bool = False, progress: ProgressCallback | None = None
) -> Found:
    """The scans of ``source``: a folder (images and DICOM, mixed as they come), one file, or a CSV or Parquet table.

    ``match``: a pattern such as ``*/ct.nii.gz`` on the path below the folder; what does not match is passed over.
    ``one_per_study``: of several CT series of a study take the one with most images. Raises ``ReadError`` when there
    is nothing at ``source`` or nothing in it.
    """
    store, name = split(source)
    if suffix_of(Path(name)) in LIST_SUFFIXES:
        return Found(scans=tuple(listed_scans(store, name)))
    if store.exists(name) and not store.is_folder(name):
        found = _of_names(store, [name], "", one_per_study, progress, ())
        if not found.scans and not found.left_out:
            raise ReadError(f"{source} is no scan.", "Give an image, a DICOM file, or a CSV or Parquet table of scans.")
        return found
    folder = Store(source)
    if not folder.is_folder():
        raise ReadError(f"{source} does not exist.", "Give a folder, a file, or a CSV or Parquet table of scans.")
    closed: list[LeftOut] = []
    names = folder.names(unreadable=lambda e: closed.append(_closed_folder(e)))
    found = _of_names(folder, names, match, one_per_study, progress, tuple(closed))
    if not found.scans and not found.left_out:
        matched = f" that match '{match}'" if match else ""
        raise ReadError(
            f"{source} holds no scans{matched} ({len(names)} files).", "Give a folder of NIfTI, NRRD, MHA or DICOM."
        )
    return found


def _of_names(
    store: Store,
    names: list[str],
    match: str,
    one_per_study: bool,
    progress: ProgressCallback | None,
    closed: tuple[LeftOut, ...],
) -> Found:
    dicom = DicomFinder(store)
    images: list[str] = []
    left_out: list[LeftOut] = []
    for name in names:
        if match and not fnmatch(name, match):
            continue
        suffix = suffix_of(Path(name))
        if suffix in IMAGE_SUFFIXES:
            images.append(name)
        elif suffix in _SEGMENTATIONS:
            left_out.append(LeftOut(path=store.address(name), reason="a segmentation, no scan"))
        else:
            dicom.add(name)
    taken: set[str] = set()
    scans = [Scan(id=unique_id(id_of(name), taken), root=store.root, name=name) for name in images]
    # A folder that cannot be opened may hide scans: it is a row, not a remark.
    for folder in closed:
        path = Path(folder.path)
        scan_id = unique_id(folder_id(path.name), taken)
        scans.append(Scan(id=scan_id, root=str(path.parent), name=path.name, problem=folder.reason))
    tracker = Tracker("folders", dicom.folder_count, progress)
    series = dicom.find(taken, tracker, one_per_study=one_per_study)
    ordered = sorted([*scans, *series.scans], key=lambda scan: scan.id)
    return Found(scans=tuple(ordered), left_out=(*left_out, *series.left_out))


def _closed_folder(error: OSError) -> LeftOut:
    return LeftOut(path=str(error.filename), reason=f"The folder cannot be listed: {error.strerror or error}.")
