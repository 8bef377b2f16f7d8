"""What the hands of a worker do: read a scan, and make files, measures and a record of its result. Without Ray."""

from __future__ import annotations

import socket
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path

from VISTA3DLib.classes import ClassCatalogue
from VISTA3DLib.cohort.inputs import content_hash, image_files, input_names, opened, stamp_of
from VISTA3DLib.cohort.journal import write_record
from VISTA3DLib.cohort.measures import measured
from VISTA3DLib.cohort.rows import Row, now
from VISTA3DLib.cohort.scan import Scan
from VISTA3DLib.cohort.segmenter import Segmented
from VISTA3DLib.cohort.settings import CohortSettings
from VISTA3DLib.cohort.storage import Store
from VISTA3DLib.files.read import is_dicom, read_volume
from VISTA3DLib.files.segments import SegmentToWrite, segments_of
from VISTA3DLib.files.write import write_segments
from VISTA3DLib.picture import Outline, save_picture
from VISTA3DLib.progress import StageClock
from VISTA3DLib.results import ClassesResult
from VISTA3DLib.volume import Volume

SCANS = "scans"
PICTURE = "picture.png"
STEM = "segmentation"


@dataclass(frozen=True, kw_only=True)
class ReadScan:
    """What is known of a scan after reading. ``unchanged``: its content is the one that has results already."""

    input_hash: str
    input_bytes: int
    stamp: str
    unchanged: bool = False
    seconds: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Job:
    """What is the same for all scans of a run."""

    output: Store
    settings: CohortSettings
    settings_text: str
    fingerprint: str
    model: str
    model_hash: str
    catalogue: ClassCatalogue


def read_scan(scan: Scan, known_hash: str = "") -> tuple[ReadScan, Volume | None]:
    """Read a scan and hash its files; no volume when the content is ``known_hash``. Raises ``VISTA3DError``."""
    clock = StageClock()
    stamp = stamp_of(scan)
    with ExitStack() as stack:
        with clock.stage("fetch"):
            path = stack.enter_context(opened(scan))
        volume = None
        if is_dicom(path):  # which files belong to it is known when it is read
            with clock.stage("read"):
                volume = read_volume(path, series=scan.series or None)
        with clock.stage("hash"):
            digest, size = content_hash(volume.source_files if volume else image_files(path))
        unchanged = digest == known_hash
        if volume is None and not unchanged:
            with clock.stage("read"):
                volume = read_volume(path)
    read = ReadScan(input_hash=digest, input_bytes=size, stamp=stamp, unchanged=unchanged, seconds=clock.seconds)
    return read, None if unchanged else volume


def finish_scan(
    job: Job, scan: Scan, attempts: int, read: ReadScan, about: Segmented, volume: Volume, result: ClassesResult
) -> Row:
    """Write the files of a result, measure it, draw it, and commit its record. Raises ``OutputError``."""
    clock = StageClock()
    segments = list(segments_of(result, job.catalogue))
    with clock.stage("measure"):
        structures = measured(segments, volume, job.catalogue)
    found = [s for s, m in zip(segments, structures, strict=True) if m.voxels]
    notes = list(about.notes)
    folder = f"{SCANS}/{scan.id}"
    outputs: list[str] = []
    with job.output.filled(folder) as path:
        with clock.stage("write"):
            for ending in job.settings.formats:
                files, remarks = _write(path / f"{STEM}.{ending}", found, volume, scan, job.model)
                outputs += [f"{folder}/{file.name}" for file in files]
                notes += remarks
        if job.settings.picture:
            with clock.stage("picture"):
                outlines = [
                    Outline(name=s.name, color=s.color, box=s.box, mask=s.mask, ml=m.ml)
                    for s, m in zip(segments, structures, strict=True)
                    if m.voxels
                ]
                save_picture(path / PICTURE, volume, outlines, title=scan.id)
            outputs.append(f"{folder}/{PICTURE}")
    row = replace(
        row_of(scan, job, read),
        device=about.device,
        node=socket.gethostname(),
        shape=volume.grid.shape,
        spacing=volume.grid.spacing,
        findings=about.findings,
        notes=tuple(notes),
        outputs=tuple(outputs),
        attempts=attempts,
        seconds={**read.seconds, **about.seconds, **clock.seconds},
        structures=tuple(structure.to_dict() for structure in structures),
    )
    write_record(job.output, row)
    return row


def row_of(scan: Scan, job: Job, read: ReadScan | None = None) -> Row:
    """A row with what is known of a scan before it is segmented."""
    return Row(
        scan=scan.id,
        path=scan.address,
        series=scan.series,
        same_as=scan.same_as,
        input_hash=read.input_hash if read else "",
        input_bytes=read.input_bytes if read else 0,
        stamp=read.stamp if read else "",
        model=job.model,
        model_hash=job.model_hash,
        settings=job.settings_text,
        fingerprint=job.fingerprint,
        seconds=read.seconds if read else {},
        finished=now(),
    )


def _write(
    path: Path, segments: Sequence[SegmentToWrite], volume: Volume, scan: Scan, model: str
) -> tuple[tuple[Path, ...], tuple[str, ...]]:
    """Write one format; the files and what a person should know about them."""
    if not path.name.endswith(".dcm"):
        written = write_segments(path, segments, volume.grid, model=model)
        return written.files, written.notes
    if not volume.source_files:
        return (), ("No DICOM SEG: the scan did not come as DICOM.",)
    if not segments:
        return (), ("No DICOM SEG: nothing was found, and DICOM has no empty segmentation.",)
    with ExitStack() as stack:
        sources = volume.source_files
        if not sources[0].exists():  # they were fetched for reading and are gone, perhaps on another machine
            names = input_names(scan)
            paths = stack.enter_context(Store(scan.root).fetched(names))
            by_name = {p.name: p for p in paths}
            sources = tuple(by_name[source.name] for source in sources)
        written = write_segments(path, segments, volume.grid, source_files=sources, model=model)
    return written.files, written.notes
