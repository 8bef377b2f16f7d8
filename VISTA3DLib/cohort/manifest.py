"""The manifest read back: the row that counts for each scan, in the order of the scans, a few at a time."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from VISTA3DLib.cohort.causes import DUPLICATE
from VISTA3DLib.cohort.journal import Journal
from VISTA3DLib.cohort.rows import NOT_RUN, OK, SAME, Row
from VISTA3DLib.cohort.scan import Scan

if TYPE_CHECKING:
    import pyarrow as pa

_KEPT_PARTS = 32


@dataclass(frozen=True, kw_only=True, slots=True)
class _Place:
    """Where the row of a scan lies; ``same_as`` if the scan turned out to be a copy of another."""

    part: int
    row: int
    status: str
    input_hash: str
    same_as: str = ""


class Manifest:
    """The rows of ``scans`` for one model and settings (``fingerprint``); the newest attempt of each counts.

    Of scans with equal content the first by id counts, whichever was done first; the others become duplicates. A scan
    without a row gets one that says ``why_not`` it was run.
    """

    def __init__(self, journal: Journal, scans: Sequence[Scan], fingerprint: str, why_not: tuple[str, str]) -> None:
        self._journal, self._scans, self._why_not = journal, sorted(scans, key=lambda scan: scan.id), why_not
        self._cache: OrderedDict[int, pa.Table] = OrderedDict()
        self._places = self._found(fingerprint)

    def rows(self) -> Iterator[Row]:
        """All rows, in the order of the scans' ids. Memory does not grow with the cohort."""
        for scan in self._scans:
            yield self._row(scan)

    def copies(self) -> Iterator[Row]:
        """Rows of scans that were segmented before it was known that they are copies."""
        for scan_id, place in self._places.items():
            if place.same_as and place.status == OK:
                yield self._stored(place, scan_id)

    def _found(self, fingerprint: str) -> dict[str, _Place]:
        wanted = {scan.id for scan in self._scans}
        places: dict[str, _Place] = {}
        columns = ["scan", "fingerprint", "status", "input_hash"]
        for part, table in enumerate(self._journal.parts(columns)):
            for number, row in enumerate(table.to_pylist()):
                if row["scan"] in wanted and row["fingerprint"] == fingerprint:
                    places[row["scan"]] = _Place(
                        part=part, row=number, status=row["status"], input_hash=row["input_hash"]
                    )
        first: dict[str, str] = {}
        for scan in self._scans:
            place = places.get(scan.id)
            if place is not None and place.status == OK:
                original = first.setdefault(place.input_hash, scan.id)
                if original != scan.id:
                    places[scan.id] = replace(place, same_as=original)
        return places

    def _row(self, scan: Scan) -> Row:
        place = self._places.get(scan.id)
        if place is None:
            cause, text = self._why_not
            return Row(
                scan=scan.id, path=scan.address, series=scan.series, status=NOT_RUN, cause=cause, error=text, attempts=0
            )
        row = self._stored(place, scan.id)
        return duplicate_row(row, place.same_as) if place.same_as else row

    def _stored(self, place: _Place, scan_id: str) -> Row:
        table = self._part(place.part)
        row = Row.from_dict(table.slice(place.row, 1).to_pylist()[0])
        assert row.scan == scan_id
        return row

    def _part(self, number: int) -> pa.Table:
        if number not in self._cache:
            self._cache[number] = self._journal.part(number)
            while len(self._cache) > _KEPT_PARTS:
                self._cache.popitem(last=False)
        self._cache.move_to_end(number)
        return self._cache[number]


def duplicate_row(row: Row, original: str) -> Row:
    """The row of a scan that is a copy of another: without a result of its own."""
    return replace(
        row,
        status=SAME,
        cause=DUPLICATE,
        error=f"It has the same content as {original}.",
        same_as=original,
        shape=(),
        spacing=(),
        outputs=(),
        structures=(),
        findings=(),
        notes=(),
    )
