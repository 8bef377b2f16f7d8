"""``vista3d classes``: what a model can segment."""

from __future__ import annotations

import json
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.tree import Tree

from VISTA3DLib.classes import ClassCatalogue, TreeNode
from VISTA3DLib.structure import ClassStatus, StructureClass


def classes(
    search: Annotated[
        str | None, typer.Argument(help="Part of a name, an id or a set; leave out to see the whole tree.")
    ] = None,
    weights: Annotated[str, typer.Option("--weights", "-w", help="Weights whose classes to show: an id or a file.")] = (
        "vista3d-ct"
    ),
    sets: Annotated[bool, typer.Option("--sets", help="Show the sets that --classes takes.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List the classes of a model: names and ids that --classes takes, as a tree or by search."""
    from VISTA3DLib.weights import catalogue_of, find_weights, is_foreign

    entry = find_weights(weights)
    if is_foreign(entry):
        from VISTA3DLib.loading import load_weights

        load_weights(entry)  # it may be no weights at all
    catalogue = catalogue_of(entry)
    if sets:
        _show_sets(catalogue, as_json=as_json)
        return
    found = _found(catalogue, search) if search else list(catalogue)
    if as_json:
        typer.echo(json.dumps([c.to_dict() for c in found], indent=1))
    elif search is None:
        root = Tree(f"[bold]{catalogue.title}")
        _grow(root, catalogue.tree(), catalogue)
        Console().print(root)
    else:
        _show_table(catalogue, [c.id for c in found])


def _found(catalogue: ClassCatalogue, text: str) -> list[StructureClass]:
    """The members of a set, else what a search finds; ``ClassError`` with the nearest names if that is nothing."""
    found = [] if catalogue.is_set(text) else catalogue.search(text)
    return found or [catalogue[class_id] for class_id in catalogue.resolve_many([text])]


def _show_sets(catalogue: ClassCatalogue, *, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps({name: list(members) for name, members in catalogue.sets.items()}, indent=1))
        return
    table = Table("set", "classes", "examples")
    for name, members in catalogue.sets.items():
        table.add_row(name, str(len(members)), ", ".join(catalogue[i].name for i in members[:4]))
    Console().print(table)


def _show_table(catalogue: ClassCatalogue, ids: list[int]) -> None:
    table = Table("id", "name", "where", "remarks")
    for class_id in ids:
        item = catalogue[class_id]
        style = "dim" if item.status is ClassStatus.UNSUPPORTED else None
        table.add_row(str(item.id), item.name, " > ".join(item.tree), item.reason, style=style)
    Console().print(table)


def _grow(branch: Tree, node: TreeNode, catalogue: ClassCatalogue) -> None:
    for child in node.children:
        _grow(branch.add(f"[bold]{child.name}"), child, catalogue)
    for class_id in node.class_ids:
        item = catalogue[class_id]
        mark = {ClassStatus.UNSUPPORTED: "[dim]", ClassStatus.GROUP: "[cyan]", ClassStatus.SUPPORTED: ""}[item.status]
        reason = f"  [dim]{item.reason}" if item.reason else ""
        branch.add(f"{mark}{item.id:>3} {item.name}{reason}")
