"""Few-shot fine-tuning of the packaged weights: what one case brings, and what is lost. Prints Markdown.

``python -m benchmarks.finetune phantom``: a muscle of the phantom that the automatic branch never learned, from one
case and from five, the same number of steps, measured on phantoms of other people.
``python -m benchmarks.finetune organ DATALIST LABEL NAME [CLASS]``: the structure with this label value, from the first
case of the list that has it, measured on cases of fold 0 (never trained on, also not by the packaged weights).
CLASS is its id in the packaged weights, which are made to forget it first: its embedding is drawn anew and its name is
taken out. The ways of fine-tuning are tried in turn: with and without replay and warps, encoder frozen or not.
``--way`` chooses among them; the phantom is taught by the command's default alone without it. Muscle and organ are said
to be of a single piece, as they are; ``--all-pieces`` leaves that out. ``--write FILE`` keeps the table as it grows.
"""

from __future__ import annotations

import argparse
import tempfile
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch

from VISTA3DLib.checkpoint import save_checkpoint
from VISTA3DLib.files.read import read_volume
from VISTA3DLib.loading import load_weights
from VISTA3DLib.progress import Progress, ProgressCallback
from VISTA3DLib.training.datalist import Case, DataList, LabelMapping, read_datalist
from VISTA3DLib.training.finetune import FinetuneSettings, finetune
from VISTA3DLib.training.finetune_report import FinetuneReport
from VISTA3DLib.training.phantom_cases import write_phantom_cases

MUSCLE = 98  # left gluteus maximus: the packaged weights saw it by clicks alone
NEW = 150  # an id that no catalogue has
HEAD = (
    "| start and what is taught | cases | way | windows | automatic before | after | one click before | after "
    "| other classes kept | clicks unchanged |\n" + "| --- " * 10 + "|"
)
WAYS: dict[str, dict[str, Any]] = {
    "encoder frozen, replay": {},
    "encoder frozen, replay, Muon": {"optimiser": "muon"},
    "encoder frozen, replay, no warps": {"warp": False},
    "encoder frozen, no replay": {"replay": False},
    "everything, replay": {"train": "everything"},
    "everything, no replay": {"train": "everything", "replay": False},
}


class Table:
    """Prints rows, and keeps them in a file."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._say(HEAD)

    def add(self, what: str, way: str, windows: int, report: FinetuneReport) -> None:
        """A row for one fine-tuning of one class."""
        (class_id,) = report.after.automatic
        scores = (report.before.automatic.get(class_id), report.after.automatic[class_id])
        clicks = (report.before.one_click.get(class_id), report.after.one_click.get(class_id))
        numbers = " | ".join("-" if v is None else f"{v:.3f}" for v in (*scores, *clicks, report.after.mean_others))
        same = "yes" if report.point_branch_unchanged else "no"
        self._say(f"| {what} | {len(report.cases)} | {way} | {windows} | {numbers} | {same} |")

    def _say(self, text: str) -> None:
        print(text, flush=True)
        if self._path is not None:
            with self._path.open("a", encoding="utf-8") as file:
                file.write(text + "\n")


def teach(data: DataList, folder: Path, windows: int, **changes: Any) -> FinetuneReport:
    """Fine-tune with ``windows`` steps, whatever the number of cases; only the last weights are measured."""
    epochs = windows // (2 * len(data.training))
    values = {"name": "taught", "weights": "vista3d-mini", "epochs": epochs, "patches_per_case": 2, **changes}
    return finetune(data, FinetuneSettings(output=folder, validate_every=epochs, **values), progress=heard())


def heard() -> ProgressCallback:
    """Progress on the terminal's error stream, now and then."""
    from rich.console import Console

    console, last = Console(stderr=True), [""]

    def tell(report: Progress) -> None:
        text = f"{report.stage} {report.done}/{report.total}"
        if text != last[0] and report.done % 10 == 0:
            console.print(text)
        last[0] = text

    return tell


def phantom(
    table: Table, folder: Path, windows: int, measured: int, counts: list[int], ways: list[str], **common: Any
) -> None:
    """One case against five, or as many as ``counts`` say, by each of the ways."""
    most = max(counts)
    cases = write_phantom_cases(folder / "phantoms", measured + most, first_seed=5000)
    cases = tuple(replace(c, annotated=(MUSCLE,)) for c in cases)
    mapping = {"default": LabelMapping(pairs=((MUSCLE, MUSCLE),))}
    data = DataList(name="phantoms", training=cases[measured:], testing=cases[:measured], mappings=mapping)
    for way, count in product(ways, counts):
        some = replace(data, training=data.training[:count])
        report = teach(some, folder / f"{count}-{way.replace(' ', '-')}", windows, **WAYS[way], **common)
        table.add("phantom, left gluteus maximus", way, windows, report)


def organ(
    table: Table,
    folder: Path,
    windows: int,
    measured: int,
    source: Path,
    label: int,
    name: str,
    forgotten: int | None,
    ways: list[str],
    **common: Any,
) -> None:
    """One case of an organ, by each of the ways."""
    data = read_datalist(source, mapping=LabelMapping(pairs=((label, NEW),)))
    with_it = [c for c in data.training if shows(c, label)]
    held = tuple(c for c in with_it if c.fold == 0)[:measured]
    taught = tuple(c for c in with_it if c.fold != 0)[:1]
    one = replace(data, training=tuple(alone(c, label) for c in taught), testing=tuple(alone(c, label) for c in held))
    weights = "vista3d-mini" if forgotten is None else str(forget("vista3d-mini", forgotten, folder))
    for way in ways:
        place = folder / way.replace(" ", "-")
        report = teach(one, place, windows, weights=weights, classes={NEW: f"taught {name}"}, **WAYS[way], **common)
        table.add(f"{name}, {taught[0].id}", way, windows, report)


def shows(case: Case, label: int) -> bool:
    """Whether the structure was looked for in a case and is there."""
    if case.label is None or (case.annotated is not None and label not in case.annotated):
        return False
    return bool((np.rint(read_volume(case.label).array) == label).any())


def alone(case: Case, label: int) -> Case:
    """A case that nothing else is known about."""
    return replace(case, annotated=(label,), pseudo_label=None, supervoxels=None, dataset="default")


def forget(weights: str, class_id: int, folder: Path) -> Path:
    """Weights whose automatic branch knows a class no more: another embedding, and no entry in the catalogue."""
    network, settings = load_weights(weights)
    table = network.class_head.class_embeddings.weight.data
    generator = torch.Generator().manual_seed(0)
    table[class_id] = torch.randn(table.shape[1], generator=generator) * table.std()
    known = [i for i in settings.catalogue.sets["everything"] if i != class_id]
    changed = replace(settings, catalogue=settings.catalogue.restricted_to(known))
    path = folder / "forgetful.safetensors"
    save_checkpoint(path, network, changed, metadata={"title": "forgetful"})
    return path


def main() -> None:
    """Run what is named."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--windows", type=int, default=200)
    parser.add_argument("--measured", type=int, default=3, help="cases to measure on")
    parser.add_argument("--write", type=Path)
    parser.add_argument("--way", choices=list(WAYS), action="append", help="may be repeated; default: see above")
    parser.add_argument("--all-pieces", action="store_true", help="keep all pieces of the automatic answers")
    commands = parser.add_subparsers(dest="command", required=True)
    of_phantom = commands.add_parser("phantom")
    of_phantom.add_argument("--cases", type=int, action="append", help="so many cases; default: 1, then 5")
    of_organ = commands.add_parser("organ")
    of_organ.add_argument("datalist", type=Path)
    of_organ.add_argument("label", type=int)
    of_organ.add_argument("name")
    of_organ.add_argument("forgotten", type=int, nargs="?")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        table, folder = Table(options.write), Path(place)
        if options.command == "phantom":
            counts, ways = options.cases or [1, 5], options.way or [next(iter(WAYS))]
            single = () if options.all_pieces else (MUSCLE,)
            phantom(table, folder, options.windows, options.measured, counts, ways, single_piece=single)
        else:
            about = (options.datalist, options.label, options.name, options.forgotten, options.way or list(WAYS))
            single = () if options.all_pieces else (NEW,)
            organ(table, folder, options.windows, options.measured, *about, single_piece=single)


if __name__ == "__main__":
    main()
