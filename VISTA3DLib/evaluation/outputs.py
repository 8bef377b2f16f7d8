"""What an evaluation leaves in its folder: rows, tables, JSON and the report, all or nothing."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from VISTA3DLib import __version__
from VISTA3DLib.evaluation.class_scores import class_scores_to_csv
from VISTA3DLib.evaluation.pictures import WorstCase, draw_worst
from VISTA3DLib.evaluation.report import Findings, make_report
from VISTA3DLib.evaluation.rows import rows_to_csv
from VISTA3DLib.evaluation.run import Evaluation
from VISTA3DLib.files.atomic import all_written_atomically

REPORT, ROWS, CLASSES, SUMMARY = "report.html", "results.csv", "classes.csv", "summary.json"


@dataclass(frozen=True, kw_only=True)
class Outputs:
    """The files that were written, and what they say."""

    files: tuple[Path, ...]
    findings: Findings
    summary: dict[str, Any]


def write_outputs(evaluation: Evaluation, folder: Path, *, worst: int = 6) -> Outputs:
    """Write ``report.html``, ``results.csv``, ``classes.csv`` and ``summary.json``; ``worst`` cases get a picture.

    They appear together and complete. Raises ``OutputError``.
    """
    findings = Findings.of(evaluation)
    drawn = draw_worst(evaluation, folder, worst)
    page = make_report(findings, drawn)
    summary = summarise(findings, drawn)
    files = tuple(folder / name for name in (REPORT, ROWS, CLASSES, SUMMARY))
    texts = (page, rows_to_csv(evaluation.rows), class_scores_to_csv(findings.classes), json.dumps(summary, indent=1))
    with all_written_atomically(*files) as temporaries:
        for temporary, text in zip(temporaries, texts, strict=True):
            temporary.write_text(text, encoding="utf-8", newline="\n")
    return Outputs(files=files, findings=findings, summary=summary)


def summarise(findings: Findings, worst: tuple[WorstCase, ...] = ()) -> dict[str, Any]:
    """Plain JSON values of everything but the single rows."""
    evaluation = findings.evaluation
    return {
        "version": __version__,
        "name": evaluation.name,
        "data": {
            "path": str(evaluation.data),
            "sha256": evaluation.data_sha256,
            "cases": [c.id for c in evaluation.cases],
        },
        "models": [asdict(m) for m in evaluation.models],
        "settings": evaluation.settings.to_dict(),
        "datasets": [d.to_dict() for d in findings.datasets],
        "classes": [s.to_dict() for s in findings.classes],
        "curves": [c.to_dict() for c in findings.curves],
        "worst": [{"case": w.row.case, "class_id": w.row.class_id, "dice": w.row.dice} for w in worst],
        "failures": [f.to_dict() for f in evaluation.failures],
    }
