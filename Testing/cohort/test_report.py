"""The report: one page that needs nothing else, opened in a real browser."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from VISTA3DLib.classes import ClassCatalogue
from VISTA3DLib.cohort.digest import MOST_LISTED, Digest
from VISTA3DLib.cohort.drawings import duration
from VISTA3DLib.cohort.journal import Journal
from VISTA3DLib.cohort.manifest import Manifest, duplicate_row
from VISTA3DLib.cohort.report import ReportFacts, write_report
from VISTA3DLib.cohort.rows import FAILED, Row
from VISTA3DLib.cohort.scan import LeftOut, Scan
from VISTA3DLib.cohort.settings import CohortSettings, FlagRules
from VISTA3DLib.cohort.storage import Store
from VISTA3DLib.cohort.tables import TableWriter, flags_of, population_of
from VISTA3DLib.cohort.work import Job

CHROMIUM = next((p for name in ("chromium", "chromium-browser", "google-chrome") if (p := shutil.which(name))), None)
ODD = 'Ä <b>"odd" & old</b>'


def rows() -> list[Row]:
    """Thirty spleens, one of them huge; a failed scan; a copy."""
    volumes = np.exp(np.random.default_rng(0).normal(np.log(200), 0.2, 30))
    volumes[7] = 5000.0
    made = []
    for number, ml in enumerate(volumes):
        structure = {"class_id": 3, "name": "spleen", "voxels": 900, "ml": float(ml), "mean_hu": 50.0, "sd_hu": 9.0}
        structure |= {"components": 1, "largest": 1.0, "border": number == 5, "agreement": 0.9}
        row = Row(
            scan=f"scan {number:02d}", path=f"/{number}", fingerprint="f", input_hash=f"{number:064x}", device="cpu"
        )
        row = replace(row, structures=(structure,), seconds={"read": 0.25, "network": 1.5}, input_bytes=10**6)
        made.append(
            replace(row, finished=f"2030-01-01T00:{number:02d}:00.000+00:00", shape=(5, 6, 7), spacing=(1, 1, 2))
        )
    broken = replace(made[0], scan=ODD, status=FAILED, cause="truncated", error=f"{ODD} ends early.", structures=())
    return [*made, broken, duplicate_row(replace(made[1], scan="scan 99"), "scan 01")]


@pytest.fixture
def page_file(tmp_path: Path) -> Path:
    """A finished cohort's report."""
    store, journal = Store(tmp_path), Journal(Store(tmp_path))
    for row in rows():
        journal.add(row)
    journal.flush()
    scans = [Scan(id=row.scan, root="/", name=row.scan) for row in rows()]
    manifest = Manifest(journal, scans, "f", ("", ""))
    usual, digest = population_of(manifest, FlagRules()), Digest()
    with TableWriter(store) as tables:
        for row in manifest.rows():
            flags = flags_of(row, usual, FlagRules(), ())
            tables.write(row, flags)
            digest.add(row, flags)
    job = Job(
        output=store,
        settings=CohortSettings(),
        settings_text="{}",
        fingerprint="f",
        model="thresholds",
        model_hash="5" * 64,
        catalogue=ClassCatalogue.load("ct"),
    )
    facts = ReportFacts(
        source=f"/data/{ODD}",
        job=job,
        digest=digest,
        usual=usual,
        left_out=(LeftOut(path="/data/x", reason="a localizer (scout)", series="1.2", description=ODD),),
        workers=2,
        made=32,
        seconds=1800,
    )
    write_report(store, "report.html", facts)
    return tmp_path / "report.html"


@pytest.fixture
def page(page_file: Path) -> Iterator[Any]:
    """The report in a browser that may reach nothing else."""
    if CHROMIUM is None:
        pytest.skip("no Chromium on this machine")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        tab = browser.new_page()
        errors: list[str] = []
        requests: list[str] = []
        tab.on("pageerror", lambda error: errors.append(str(error)))
        tab.on("request", lambda request: requests.append(request.url))
        tab.goto(page_file.as_uri())
        yield tab
        assert not errors
        assert [url for url in requests if not url.startswith("data:")] == [page_file.as_uri()]
        browser.close()


def test_the_page_is_self_contained_and_escapes_what_it_shows(page_file: Path) -> None:
    text = page_file.read_text(encoding="utf-8")
    assert not re.search(r'(?:src|href)="(?:https?:)?//', text)
    assert '<b>"odd"' not in text
    assert "Ä &lt;b&gt;" in text
    assert "truncated" in text
    assert "a localizer (scout)" in text


def test_the_worst_is_first_and_flags_can_be_chosen(page: Any) -> None:
    cards = page.locator(".card h3")
    assert cards.all_inner_texts() == ["scan 07", "scan 05"]  # a volume weighs more than a border
    page.locator("button[data-code=border]").click()
    assert page.locator(".card:visible h3").all_inner_texts() == ["scan 05"]
    page.locator("button[data-code=border]").click()
    assert page.locator(".card:visible").count() == 2


def test_tables_sort_by_a_click_and_are_searched(page: Any) -> None:
    first = page.locator("#scans tbody tr:first-child td:first-child")
    head = page.locator("#scans th", has_text="flags")
    head.click()
    head.click()
    assert first.inner_text() == "scan 07"
    page.locator("#scans th", has_text="scan").first.click()
    assert first.inner_text() == ODD
    page.locator("#scans th", has_text="scan").first.click()
    assert first.inner_text() == "scan 99"
    page.locator("input[type=search]").fill("truncated")
    assert page.locator("#scans tbody tr:visible").count() == 1


def test_a_page_of_a_large_cohort_stays_small() -> None:
    digest = Digest()
    row = rows()[0]
    for number in range(MOST_LISTED + 50):
        digest.add(replace(row, scan=f"{number:05d}"), flags_of(rows()[5], {}, FlagRules(), ()))
    assert (digest.total, len(digest.listed), len(digest.worst), digest.flagged) == (2050, 2000, 200, 2050)
    assert digest.worst[0].scan == "00000"


@pytest.mark.parametrize(("seconds", "text"), [(3, "3 s"), (600, "10 min"), (7200, "2.0 h"), (1e6, "11.6 days")])
def test_durations_are_told_as_a_person_would(seconds: float, text: str) -> None:
    assert duration(seconds) == text
