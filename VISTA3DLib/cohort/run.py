"""The whole of a cohort: find, run, tabulate, report."""

from __future__ import annotations

import functools
import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace

from VISTA3DLib import __version__
from VISTA3DLib.classes import ClassCatalogue
from VISTA3DLib.cohort import causes
from VISTA3DLib.cohort.cluster import Cluster, ClusterLostError, Share, check_installed
from VISTA3DLib.cohort.digest import Digest
from VISTA3DLib.cohort.done import Done
from VISTA3DLib.cohort.find import find_scans
from VISTA3DLib.cohort.journal import Journal, write_record
from VISTA3DLib.cohort.manifest import Manifest, duplicate_row
from VISTA3DLib.cohort.pace import CohortProgress, Pace
from VISTA3DLib.cohort.report import ReportFacts, write_report
from VISTA3DLib.cohort.rows import FAILED, Row
from VISTA3DLib.cohort.scan import Found, Scan
from VISTA3DLib.cohort.schedule import Schedule
from VISTA3DLib.cohort.segmenter import ModelDescription, ModelSegmenter, SegmenterMaker
from VISTA3DLib.cohort.settings import CohortSettings, FlagRules, RunOptions
from VISTA3DLib.cohort.storage import Store
from VISTA3DLib.cohort.tables import TableWriter, flags_of, population_of, write_left_out
from VISTA3DLib.cohort.work import SCANS, Job, row_of
from VISTA3DLib.errors import ReadError, SettingsError

REPORT = "report.html"
_ABOUT = "cohort.json"


@dataclass(frozen=True, kw_only=True)
class CohortRequest:
    """What is to be done. ``match`` and ``one_per_study``: see ``find.find_scans``."""

    source: str
    output: str
    settings: CohortSettings = field(default_factory=CohortSettings)
    options: RunOptions = field(default_factory=RunOptions)
    rules: FlagRules = field(default_factory=FlagRules)
    match: str = ""
    one_per_study: bool = False
    resume: bool = False


@dataclass(frozen=True, kw_only=True)
class CohortSummary:
    """What came of it. ``counts`` of rows by status, ``cause_counts`` of those without a result by cause.

    ``ended`` says why the run stopped early, empty if it did not. ``report`` is the address of the HTML page.
    """

    counts: Mapping[str, int]
    cause_counts: Mapping[str, int]
    flagged: int
    left_out: int
    skipped: int
    seconds: float
    report: str
    ended: str = ""


class CohortRun:
    """Runs a request. ``progress`` gets reports, ``remark`` and ``line`` sentences for the person.

    ``make`` makes the segmenter of a worker; None is the model of the settings.
    """

    def __init__(
        self,
        request: CohortRequest,
        *,
        progress: Callable[[CohortProgress], None] = lambda _: None,
        remark: Callable[[str], None] = lambda _: None,
        line: Callable[[str], None] = lambda _: None,
        make: SegmenterMaker | None = None,
    ) -> None:
        self._request, self._progress, self._remark, self._line = request, progress, remark, line
        self._make = make
        self._output = Store(request.output)
        self._settings_text = json.dumps(asdict(request.settings), sort_keys=True)

    def run(self) -> CohortSummary:
        """Do it. Raises ``VISTA3DError`` if nothing could be done at all; a scan that fails is a row."""
        check_installed()
        request, start = self._request, time.monotonic()
        journal = Journal(self._output)
        if not request.resume and not journal.is_empty:
            raise SettingsError(
                f"{request.output} holds a cohort already.", "Add --resume to go on with it, or name another folder."
            )
        if self._make is None and request.options.ray is None:
            _check_model(request.settings)
        self._describe_run(None)  # a place that cannot be written to is known before anything is read
        found = find_scans(request.source, match=request.match, one_per_study=request.one_per_study)
        self._line(f"{len(found.scans):,} scans, {len(found.left_out):,} other things left out.")
        journal.gather()
        with Cluster(request.options) as cluster:
            if cluster.dashboard:
                self._line(f"Ray's dashboard: http://{cluster.dashboard}")
            ended, job, pace, share = self._segment(cluster, journal, found)
        return self._finish(journal, found, job, pace, share, ended, time.monotonic() - start)

    def _segment(self, cluster: Cluster, journal: Journal, found: Found) -> tuple[tuple[str, str], Job, Pace, Share]:
        """Run the scans that are not done; why it ended early, and what is needed for the tables."""
        request = self._request
        share = cluster.share()
        pace = Pace(len(found.scans))

        def take(row: Row, recorded: bool) -> None:
            if not recorded:
                write_record(self._output, row)
            journal.add(row)
            pace.step(row.status)
            self._progress(pace.progress(schedule.in_air_count, FAILED))

        schedule = Schedule(
            cluster,
            share,
            self._maker(share),
            attempts=request.options.attempts,
            take=take,
            skipped=lambda _: pace.skip(),
            remark=self._remark,
        )
        model = schedule.first_model()
        self._introduce(model, share)
        job = self._job(model)
        self._describe_run(job)
        done = Done(journal if request.resume else None, self._output)
        todo = self._todo(found.scans, done, job, pace, take)
        originals = done.hashes(found.scans, job.fingerprint)
        ended = ("", "")
        try:
            schedule.run(job, todo, originals)
        except ClusterLostError as error:
            self._remark(f"{error.message} {error.fix}")
            for scan in schedule.in_air:
                row = replace(
                    row_of(scan, job), status=FAILED, cause=causes.CLUSTER, error=error.message, fix=error.fix
                )
                take(row, False)
            ended = (causes.CLUSTER, "The cluster was lost before it was its turn.")
        except KeyboardInterrupt:
            ended = ("stopped", "The run was stopped before it was its turn, or while it was worked on.")
        journal.flush()
        return ended, job, pace, share

    def _todo(
        self, scans: Sequence[Scan], done: Done, job: Job, pace: Pace, take: Callable[[Row, bool], None]
    ) -> Iterator[tuple[Scan, str]]:
        """The scans that need work, with the content that is done already; others get their row here."""
        for scan in scans:
            if scan.problem:
                cause = causes.cause_of_text(scan.problem) or causes.cause_of(ReadError(scan.problem))
                row = row_of(scan, job)
                take(replace(row, status=FAILED, cause=cause, error=scan.problem, fix=scan.fix, stage="find"), False)
            elif scan.same_as:
                take(duplicate_row(row_of(scan, job), scan.same_as), False)
            elif done.is_current(scan, job.fingerprint):
                pace.skip()
            else:
                yield scan, done.known_hash(scan, job.fingerprint)

    def _finish(
        self,
        journal: Journal,
        found: Found,
        job: Job,
        pace: Pace,
        share: Share,
        ended: tuple[str, str],
        seconds: float,
    ) -> CohortSummary:
        """Write the tables and the report."""
        request = self._request
        manifest = Manifest(
            journal, found.scans, job.fingerprint, ended if ended[0] else ("not run", "It was not run.")
        )
        for row in manifest.copies():
            for name in row.outputs:
                self._output.delete(name)
        usual = population_of(manifest, request.rules)
        named = _named(request.settings.classes, job.catalogue)
        digest = Digest()
        with TableWriter(self._output) as tables:
            for row in manifest.rows():
                if not row.outputs:  # a copy that was found late, or a result that could not be written
                    self._output.prune(f"{SCANS}/{row.scan}")
                flags = flags_of(row, usual, request.rules, named)
                tables.write(row, flags)
                digest.add(row, flags)
        write_left_out(self._output, found.left_out)
        facts = ReportFacts(
            source=request.source,
            job=job,
            digest=digest,
            usual=usual,
            left_out=found.left_out,
            workers=share.workers,
            made=pace.counts.total(),
            seconds=seconds,
            ended=ended[1],
        )
        write_report(self._output, REPORT, facts)
        return CohortSummary(
            counts=digest.counts,
            cause_counts=digest.cause_counts,
            flagged=digest.flagged,
            left_out=len(found.left_out),
            skipped=pace.skipped,
            seconds=seconds,
            report=self._output.address(REPORT),
            ended=ended[1],
        )

    def _maker(self, share: Share) -> SegmenterMaker:
        if self._make is not None:
            return self._make
        batch = self._request.options.batch
        return functools.partial(
            ModelSegmenter, self._request.settings, device=share.device, threads=share.threads, batch=batch
        )

    def _job(self, model: ModelDescription) -> Job:
        settings = self._request.settings
        return Job(
            output=self._output,
            settings=settings,
            settings_text=self._settings_text,
            fingerprint=settings.fingerprint(model.hash),
            model=model.id,
            model_hash=model.hash,
            catalogue=model.catalogue,
        )

    def _introduce(self, model: ModelDescription, share: Share) -> None:
        hands = f"{share.hands} process{'es' * (share.hands > 1)} for files each"
        self._line(f"{model.id} on {share.workers} x {model.device}, {hands}.")
        if model.note:
            self._remark(model.note)
        if model.demonstration and not model.note:
            self._remark(f"{model.id} is for demonstration and tests, not for results.")

    def _describe_run(self, job: Job | None) -> None:
        plain = {
            "format": 1,
            "version": __version__,
            "source": self._request.source,
            "settings": asdict(self._request.settings),
            "rules": asdict(self._request.rules),
            "model": job.model if job else None,
            "model_hash": job.model_hash if job else None,
            "fingerprint": job.fingerprint if job else None,
        }
        self._output.write(_ABOUT, json.dumps(plain, indent=1, ensure_ascii=False).encode())


def run_cohort(request: CohortRequest, make: SegmenterMaker | None = None) -> CohortSummary:
    """Run a cohort without a word; see ``CohortRun``."""
    return CohortRun(request, make=make).run()


def _check_model(settings: CohortSettings) -> None:
    """Raise ``CheckpointError`` or ``ClassError`` for what every worker here would stumble over, before any starts."""
    from VISTA3DLib.weights import catalogue_of, find_weights

    catalogue_of(find_weights(settings.weights)).resolve_many(settings.classes)


def _named(classes: Sequence[str], catalogue: ClassCatalogue) -> frozenset[int]:
    """The ids of classes that were asked for one by one, not as members of a set."""
    named = [text for text in classes if not catalogue.is_set(text)]
    return frozenset(catalogue.resolve_many(named)) if named else frozenset()
