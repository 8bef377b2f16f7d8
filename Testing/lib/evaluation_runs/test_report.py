"""The report: one file, complete, that no name can break."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

from evaluation_lists import AUTO, CLICKS, entry, rows_in, write_case, write_list

from VISTA3DLib.evaluation.evaluate import evaluate
from VISTA3DLib.evaluation.settings import EvaluationSettings


def test_one_case_with_one_object_makes_a_report(tmp_path: Path, weights: str) -> None:
    write_case(tmp_path, "a", "lps", 4)
    data = write_list(tmp_path, [entry("a")], label_mapping=[[2, 205]])
    outputs = evaluate(
        data, tmp_path / "out", EvaluationSettings(protocol="clicks", clicks=1), weights=weights, device="cpu"
    )
    assert outputs.findings.curves[0].objects == 1
    assert outputs.findings.classes[0].dice_sd is None


class Page(HTMLParser):
    """Whether tags close, and what a page asks the network for."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.asked: list[str] = []
        self.pictures = 0

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        if tag not in {"meta", "img", "br"}:
            self.open.append(tag)
        self.pictures += tag == "img"
        for name, value in attributes:
            if name in {"src", "href", "xlink:href"} and value and not value.startswith(("data:", "#")):
                self.asked.append(value)

    def handle_startendtag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        pass

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_report_is_one_file_with_charts_and_pictures(two_cases: Path, tmp_path: Path, weights: str) -> None:
    outputs = evaluate(two_cases, tmp_path / "out", CLICKS, weights=weights, device="cpu", worst=2)
    text = outputs.files[0].read_text(encoding="utf-8")
    page = Page()
    page.feed(text)
    assert page.open == []
    assert page.asked == []
    assert page.pictures == 2
    assert not re.search(r"url\((?!#)|@import|<script", text)
    assert text.count("<svg") == 3  # curves, boxes by click, boxes by class
    for words in ("Clicks", "Classes", "Worst cases", "How it was measured", "random walker", "area"):
        assert words in text
    (loaded,) = outputs.findings.evaluation.models
    assert loaded.sha256 in text


def test_names_from_files_cannot_break_the_page(tmp_path: Path, weights: str) -> None:
    write_case(tmp_path, "a", "lps", 4)
    evil = "<script>alert('x')</script> & \"quotes\""
    data = write_list(tmp_path, [entry("a", id=evil)], name=evil)
    outputs = evaluate(data, tmp_path / "out", AUTO, weights=weights, worst=1)
    text = outputs.files[0].read_text(encoding="utf-8")
    assert "<script" not in text
    assert "&lt;script&gt;" in text
    assert rows_in(outputs)[0]["case"] == evil


def test_the_papers_results_lie_beside_its_data_sets(tmp_path: Path, weights: str) -> None:
    write_case(tmp_path, "a", "lps", 4)
    entries = [entry("a", dataset="BTCV-Abdomen")]
    outputs = evaluate(write_list(tmp_path, entries), tmp_path / "out", AUTO, weights=weights, worst=0)
    text = outputs.files[0].read_text(encoding="utf-8")
    assert "The paper&#x27;s results" in text
    assert "0.849" in text  # VISTA3D auto
    assert "VISTA3D auto" in text
    other = evaluate(write_list(tmp_path, [entry("a")]), tmp_path / "out2", AUTO, weights=weights, worst=0)
    assert "The paper" not in other.files[0].read_text(encoding="utf-8").split("How it was measured")[0]
