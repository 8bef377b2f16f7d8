"""The report: one HTML page that needs nothing else, flagged scans first."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from importlib import resources
from urllib.parse import quote

import numpy as np

from VISTA3DLib import __version__
from VISTA3DLib.cohort.digest import MOST_EXAMPLES, MOST_LISTED, Digest, Shown
from VISTA3DLib.cohort.drawings import axis_drawing, duration, pace_drawing, stages_drawing, volume_drawing
from VISTA3DLib.cohort.flags import MEANINGS, WEIGHTS
from VISTA3DLib.cohort.population import Usual, ml_text
from VISTA3DLib.cohort.rows import FAILED, NOT_RUN, OK, SAME, now
from VISTA3DLib.cohort.scan import LeftOut
from VISTA3DLib.cohort.storage import Store
from VISTA3DLib.cohort.work import Job
from VISTA3DLib.errors import ReadError

MOST_PICTURES = 60  # that are put into the page; more make it slow to open
_PICTURE_WIDTH = 1000
_MOST_LEFT_OUT = 500


@dataclass(frozen=True, kw_only=True)
class ReportFacts:
    """What the report tells. ``made`` scans were worked on in ``seconds`` by ``workers``; ``ended``: why early."""

    source: str
    job: Job
    digest: Digest
    usual: Mapping[int, Usual]
    left_out: Sequence[LeftOut]
    workers: int
    made: int
    seconds: float
    ended: str = ""


def write_report(store: Store, name: str, facts: ReportFacts) -> None:
    """Write the page. Raises ``OutputError``."""
    body = "\n".join(
        part
        for part in (
            _head(facts),
            _tiles(facts),
            _flagged(store, facts.digest),
            _failures(facts.digest),
            _volumes(facts.usual),
            _throughput(facts),
            _scans(store, facts.digest),
            _left_out(facts.left_out),
        )
        if part
    )
    page = (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>'
        f'{escape(_title(facts))}</title><meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<style>{_resource('report.css')}</style></head>\n<body><main>\n{body}\n</main>"
        f"<script>{_resource('report.js')}</script></body></html>\n"
    )
    store.write(name, page.encode())


def _title(facts: ReportFacts) -> str:
    return f"Cohort {facts.source.rstrip('/').rsplit('/', 1)[-1]}"


def _head(facts: ReportFacts) -> str:
    settings = facts.job.settings
    device = ", ".join(sorted(d for d in facts.digest.devices if d)) or "no device"
    parts = [
        f"<h1>{escape(_title(facts))}</h1>",
        f'<p class="soft">{escape(facts.source)}<br>{escape(facts.job.model)} ({facts.job.model_hash[:12]}), '
        f"{escape(', '.join(settings.classes))}, {escape(settings.mode)}; {escape(device)}; "
        f"{now()[:16].replace('T', ' ')} UTC; VISTA3D {__version__}</p>",
    ]
    if facts.ended:
        parts.append(
            f'<p class="note">Not all scans were run. {escape(facts.ended)} Go on with <code>--resume</code>.</p>'
        )
    return "\n".join(parts)


def _tiles(facts: ReportFacts) -> str:
    digest = facts.digest
    rate = facts.made / facts.seconds * 3600 if facts.seconds and facts.made else None
    tiles = [
        ("", f"{digest.total:,}", "scans"),
        ("good", f"{digest.counts[OK]:,}", "with a result"),
        ("warn" * bool(digest.flagged), f"{digest.flagged:,}", "flagged"),
        ("bad" * bool(digest.counts[FAILED]), f"{digest.counts[FAILED]:,}", "failed"),
        ("", f"{digest.counts[SAME]:,}", "duplicates"),
        ("warn" * bool(digest.counts[NOT_RUN]), f"{digest.counts[NOT_RUN]:,}", "not run"),
        ("", f"{len(facts.left_out):,}", "left out"),
        ("", "-" if rate is None else f"{rate:,.0f}", "scans per hour, this run"),
    ]
    inner = "".join(f'<div class="tile {kind}"><b>{number}</b>{text}</div>' for kind, number, text in tiles)
    return f'<div class="tiles">{inner}</div>'


def _flagged(store: Store, digest: Digest) -> str:
    if not digest.flagged:
        return "<h2>Flagged</h2><p>No scan is flagged.</p>"
    buttons = "".join(
        f'<button class="chip {code}" data-code="{code}" title="{escape(MEANINGS[code])}">{code} '
        f"{digest.flag_counts[code]:,}</button>"
        for code in WEIGHTS
        if digest.flag_counts[code]
    )
    worst = digest.worst
    cards = "\n".join(_card(store, shown, index < MOST_PICTURES) for index, shown in enumerate(worst))
    rest = digest.flagged - len(worst)
    more = f'<p class="soft">{rest:,} more are in the table scans.csv.</p>' if rest > 0 else ""
    legend = "; ".join(f"<b>{code}</b>: {escape(MEANINGS[code])}" for code in WEIGHTS if digest.flag_counts[code])
    return f'<h2>Flagged, the worst first</h2><p>{buttons}</p><p class="soft">{legend}</p>{cards}{more}'


def _card(store: Store, shown: Shown, with_picture: bool) -> str:
    chips = "".join(f'<span class="chip {code}">{code}</span>' for code in shown.codes)
    picture = ""
    if shown.picture and with_picture:
        source = _embedded(store, shown.picture)
        picture = (
            f'<img loading="lazy" alt="Three planes of {escape(shown.scan, quote=True)}" src="{source}">'
            if source
            else ""
        )
    return (
        f'<div class="card" data-codes="{" ".join(shown.codes)}"><h3>{_link(shown)}</h3>{chips}'
        f'<div class="soft">{escape(shown.text)}</div>{picture}</div>'
    )


def _failures(digest: Digest) -> str:
    if not digest.causes:
        return ""
    parts = ["<h2>Without a result, by cause</h2>"]
    for cause, count in digest.cause_counts.most_common():
        rows = [[_text(s.scan), _text(s.error)] for s in digest.causes[cause]]
        more = f'<p class="soft">and {count - MOST_EXAMPLES:,} more in scans.csv</p>' if count > MOST_EXAMPLES else ""
        opened = " open" if len(digest.causes) <= 8 else ""
        table = _table(["scan", "what happened and what to do"], rows, wrap=(0, 1))
        parts.append(
            f"<details{opened}><summary><b>{count:,}</b> {escape(cause or 'other')}</summary>{table}{more}</details>"
        )
    return "\n".join(parts)


def _volumes(usual: Mapping[int, Usual]) -> str:
    shown = [u for u in usual.values() if u.found]
    whole = [u for u in shown if u.volumes.size]
    if not shown:
        return ""
    low = min((float(u.volumes[0]) for u in whole), default=0.1)
    high = max((float(u.volumes[-1]) for u in whole), default=10.0)
    low, high = 10 ** np.floor(np.log10(max(low, 1e-3))), 10 ** np.ceil(np.log10(max(high, 1e-2)) + 1e-9)
    rows = []
    for item in shown:
        has = bool(item.volumes.size)
        five, fifty, more = np.percentile(item.volumes, [5, 50, 95]) if has else (None, None, None)
        span = "" if item.low is None or item.high is None else f"{ml_text(item.low)} to {ml_text(item.high)}"
        rows.append(
            [
                _text(item.name),
                _number(item.found, f"{item.found:,} of {item.asked:,}"),
                _number(item.volumes.size, f"{item.volumes.size:,}"),
                *(_number(v, "" if v is None else ml_text(v)) for v in (five, fifty, more)),
                _number(item.low, span),
                ("", volume_drawing(item, float(low), float(high))),
            ]
        )
    heads = [
        "structure",
        "#found",
        "#whole",
        "#5 %",
        "#median",
        "#95 %",
        "#usual, ml",
        axis_drawing(float(low), float(high)),
    ]
    return (
        '<h2>Volumes in ml</h2><p class="soft">Of structures that do not reach the border of the scan. Line: median; '
        f"shaded: the usual range.</p>{_table(heads, rows, sortable=True)}"
    )


def _throughput(facts: ReportFacts) -> str:
    digest = facts.digest
    scans = digest.counts[OK]
    if not scans:
        return ""
    size = f"{digest.input_bytes / scans / 1e6:.1f} MB of input a scan. " if digest.input_bytes else ""
    return (
        f'<h2>Throughput</h2><p class="soft">{facts.made:,} scans in {duration(facts.seconds)} with {facts.workers} '
        f"worker{'s' * (facts.workers > 1)}, start of the processes included. {size}Times of the stages are per scan; "
        f"stages of different scans overlap.</p>{pace_drawing(digest.finished)}"
        f"{stages_drawing(digest.stage_seconds, scans)}"
    )


def _scans(store: Store, digest: Digest) -> str:
    rows = []
    for s in digest.listed:
        chips = "".join(f'<span class="chip {code}">{code}</span>' for code in s.codes)
        state = s.status if s.status == OK else f"{s.status}: {s.cause}"
        rows.append(
            [
                (s.scan, _link(s)),
                _text(state),
                (f"{s.score:05d}", chips),
                _number(s.structures, str(s.structures) if s.status == OK else ""),
                _text(" x ".join(map(str, s.shape))),
                _text(" x ".join(f"{v:.3g}" for v in s.spacing)),
                _number(s.seconds, f"{s.seconds:.1f}" if s.seconds else ""),
            ]
        )
    heads = ["scan", "status", "flags", "#structures", "voxels", "mm", "#seconds"]
    more = ""
    if digest.total > len(digest.listed):
        more = (
            f'<p class="soft">The first {MOST_LISTED:,}; all {digest.total:,} are in scans.parquet and scans.csv.</p>'
        )
    return (
        '<h2>All scans</h2><input type="search" data-filter="scans" placeholder="Find a scan, a cause, a flag" '
        f'aria-label="Find">{_table(heads, rows, sortable=True, identity="scans", wrap=(0,))}{more}'
    )


def _left_out(items: Sequence[LeftOut]) -> str:
    if not items:
        return ""
    rows = [[_text(i.path), _text(i.series), _text(i.description), _text(i.reason)] for i in items[:_MOST_LEFT_OUT]]
    table = _table(["place", "series", "description", "why"], rows, sortable=True, wrap=(0, 1))
    more = "" if len(items) <= _MOST_LEFT_OUT else '<p class="soft">All of them are in left_out.csv.</p>'
    return f'<h2>Left out</h2><p class="soft">No scans to segment.</p>{table}{more}'


Cell = tuple[str, str]  # the value to sort by, and what is shown


def _table(
    heads: Sequence[str],
    rows: Iterable[Sequence[Cell]],
    *,
    sortable: bool = False,
    identity: str = "",
    wrap: Sequence[int] = (),
) -> str:
    """An HTML table; columns whose head starts with # hold numbers."""
    classes = ["n" if head.startswith("#") else "wrap" if i in wrap else "" for i, head in enumerate(heads)]
    top = "".join(
        f'<th class="{kind}">{head.removeprefix("#")}</th>' for head, kind in zip(heads, classes, strict=True)
    )
    body = "".join(
        "<tr>"
        + "".join(
            f'<td class="{kind}" data-value="{escape(value, quote=True)}">{shown}</td>'
            for (value, shown), kind in zip(row, classes, strict=True)
        )
        + "</tr>"
        for row in rows
    )
    return (
        f'<div class="scroll"><table class="{"sortable" * sortable}" id="{identity}"><thead><tr>{top}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )


def _text(value: str) -> Cell:
    return value, escape(value)


def _number(value: float | None, shown: str) -> Cell:
    return "" if value is None else repr(float(value)), escape(shown)


def _link(shown: Shown) -> str:
    if not shown.picture:
        return escape(shown.scan)
    return f'<a href="{escape(quote(shown.picture), quote=True)}">{escape(shown.scan)}</a>'


def _embedded(store: Store, name: str) -> str:
    """A picture of the results, smaller, as a data address; empty if it is gone."""
    from PIL import Image, UnidentifiedImageError

    try:
        picture = Image.open(io.BytesIO(store.read(name))).convert("RGB")
    except (ReadError, UnidentifiedImageError):
        return ""
    picture.thumbnail((_PICTURE_WIDTH, _PICTURE_WIDTH))
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=82)
    return f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def _resource(name: str) -> str:
    return (resources.files("VISTA3DLib.cohort") / name).read_text(encoding="utf-8")
