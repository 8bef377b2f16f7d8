"""The structures of a model as rows for the page: the tree, the sets, what a search finds."""

from __future__ import annotations

from typing import Any

from VISTA3DLib.classes import ClassCatalogue, TreeNode
from VISTA3DLib.structure import ClassStatus, StructureClass

_MOST_HITS = 40


def tree_rows(catalogue: ClassCatalogue) -> list[dict[str, Any]]:
    """Branches and classes in reading order; ``above`` names the branches that must be open for a row to be seen."""
    rows: list[dict[str, Any]] = []
    _walk(catalogue, catalogue.tree(), (), rows)
    return rows


def set_rows(catalogue: ClassCatalogue) -> list[dict[str, Any]]:
    """The named sets."""
    return [{"name": name, "ids": list(ids)} for name, ids in catalogue.sets.items()]


def search_rows(catalogue: ClassCatalogue, text: str) -> list[dict[str, Any]]:
    """Classes that a text finds, best first."""
    if not text.strip():
        return []
    return [_class_row(catalogue, item) for item in catalogue.search(text)[:_MOST_HITS]]


def _walk(catalogue: ClassCatalogue, node: TreeNode, above: tuple[str, ...], rows: list[dict[str, Any]]) -> None:
    for class_id in node.class_ids:
        row = _class_row(catalogue, catalogue[class_id])
        rows.append(
            {**row, "key": f"{'/'.join(above)}/{class_id}", "depth": len(above), "above": list(above), "group": False}
        )
    for child in node.children:
        key = f"{above[-1]}/{child.name}" if above else child.name
        ids = [i for i in _below(child) if catalogue[i].status is ClassStatus.SUPPORTED]
        rows.append(
            {"key": key, "name": child.name, "depth": len(above), "above": list(above), "group": True, "ids": ids}
        )
        _walk(catalogue, child, (*above, key), rows)


def _below(node: TreeNode) -> list[int]:
    return [*node.class_ids, *(i for child in node.children for i in _below(child))]


def _class_row(catalogue: ClassCatalogue, item: StructureClass) -> dict[str, Any]:
    """``ids``: what is segmented for it (the members of a group); ``single``: one can click it."""
    return {
        "id": item.id,
        "name": item.name,
        "color": "#{:02x}{:02x}{:02x}".format(*item.color),
        "ok": item.status is not ClassStatus.UNSUPPORTED,
        "single": item.status is ClassStatus.SUPPORTED,
        "why": item.reason,
        "ids": list(catalogue.members(item.id)),
    }
