"""The processes of a worker, as Ray actors: one with the model, some hands that read and write.

What is wrong with a scan comes back as a value: Ray reports exceptions that nobody asks for, with their whole trace.
"""

from __future__ import annotations

from VISTA3DLib.cohort.rows import Row
from VISTA3DLib.cohort.scan import Scan
from VISTA3DLib.cohort.segmenter import ModelDescription, Segmented, Segmenter, SegmenterMaker
from VISTA3DLib.cohort.work import Job, ReadScan, finish_scan, read_scan
from VISTA3DLib.errors import VISTA3DError
from VISTA3DLib.results import ClassesResult
from VISTA3DLib.volume import Volume


class ModelActor:
    """Holds one loaded model. It is loaded at the first call, also after a restart, so that errors reach the caller."""

    def __init__(self, make: SegmenterMaker) -> None:
        self._make = make
        self._loaded: Segmenter | None = None

    def describe(self) -> ModelDescription:
        """Load the model and say which it is."""
        return self._segmenter().describe()

    def segment(self, volume: Volume) -> tuple[Segmented | VISTA3DError, ClassesResult | None]:
        """Segment a volume; two returns, so that the labels stay in shared memory."""
        try:
            return self._segmenter().segment(volume)
        except VISTA3DError as error:
            return error, None

    def _segmenter(self) -> Segmenter:
        if self._loaded is None:
            self._loaded = self._make()
        return self._loaded


class HandActor:
    """Reads scans and finishes results; the voxels go through shared memory."""

    def ready(self) -> None:
        """Answers when the process is up."""

    def read(self, scan: Scan, known_hash: str) -> tuple[ReadScan | VISTA3DError, Volume | None]:
        """Read a scan; two returns."""
        try:
            return read_scan(scan, known_hash)
        except VISTA3DError as error:
            return error, None

    def finish(
        self,
        job: Job,
        scan: Scan,
        attempts: int,
        read: ReadScan,
        about: Segmented,
        volume: Volume,
        result: ClassesResult,
    ) -> Row | VISTA3DError:
        """Write, measure and commit a result."""
        try:
            return finish_scan(job, scan, attempts, read, about, volume, result)
        except VISTA3DError as error:
            return error
