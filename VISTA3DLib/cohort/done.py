"""What an earlier run has done already: asked for every scan when a cohort is resumed."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from VISTA3DLib.cohort.inputs import stamp_of
from VISTA3DLib.cohort.journal import Journal
from VISTA3DLib.cohort.rows import OK, SAME
from VISTA3DLib.cohort.scan import Scan
from VISTA3DLib.cohort.storage import Store


@dataclass(frozen=True, kw_only=True, slots=True)
class Earlier:
    """What is remembered of a finished scan. ``output`` is one of its files, empty for a duplicate."""

    status: str
    fingerprint: str
    stamp: str
    input_hash: str
    output: str
    record: str


class Done:
    """Finished scans by id, the newest attempt of each."""

    def __init__(self, journal: Journal | None, store: Store) -> None:
        self._store = store
        self._of: dict[str, Earlier] = {}
        columns = ["scan", "status", "fingerprint", "stamp", "input_hash", "outputs", "record"]
        for table in journal.parts(columns) if journal else ():
            for row in table.to_pylist():
                scan, outputs = row.pop("scan"), row.pop("outputs") or [""]
                self._of[scan] = Earlier(**row, output=outputs[0])

    def __len__(self) -> int:
        return len(self._of)

    def is_current(self, scan: Scan, fingerprint: str) -> bool:
        """Whether a scan needs nothing: same model and settings, same files, outputs in place.

        Files count as the same when sizes and times are; a scan whose files were only touched is found to be the same
        by its contents when it is read (``known_hash``).
        """
        earlier = self._of.get(scan.id)
        if earlier is None or earlier.status not in {OK, SAME} or earlier.fingerprint != fingerprint:
            return False
        if earlier.status == SAME:
            return False  # costs a look at the original only, and that may have changed
        return self._has_output(earlier) and stamp_of(scan) == earlier.stamp

    def known_hash(self, scan: Scan, fingerprint: str) -> str:
        """The content for which results with this model and these settings are in place; empty if there are none."""
        earlier = self._of.get(scan.id)
        if earlier is None or earlier.status != OK or earlier.fingerprint != fingerprint:
            return ""
        return earlier.input_hash if self._has_output(earlier) else ""

    def hashes(self, scans: Iterable[Scan], fingerprint: str) -> dict[bytes, str]:
        """Content -> id of the scans that are done, the first id of each content."""
        found: dict[bytes, str] = {}
        for scan in scans:
            if known := self.known_hash(scan, fingerprint):
                key = bytes.fromhex(known)[:16]
                found[key] = min(found.get(key, scan.id), scan.id)
        return found

    def _has_output(self, earlier: Earlier) -> bool:
        # A look at every object of a bucket takes longer than segmenting: there the record alone counts.
        return not self._store.is_local or (bool(earlier.output) and self._store.exists(earlier.output))
