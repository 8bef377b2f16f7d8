"""The weights that a person can choose from: what they are, whether they are here, under which licence."""

from __future__ import annotations

from typing import Any

from VISTA3DLib.download import is_downloaded
from VISTA3DLib.weights import WeightsCatalogue, models_folders


def weights_rows() -> list[dict[str, Any]]:
    """One row an entry of the catalogue. Looks at the disk, never at a network."""
    return [
        {
            "id": entry.id,
            "title": entry.title,
            "description": entry.description,
            "here": entry.path is not None or is_downloaded(entry),
            "size": f"{entry.size / 1e6:.0f} MB" if entry.size else "",
            "licence": entry.licence.name,
            "summary": entry.licence.summary,
            "url": entry.licence.url,
            "demonstration": entry.demonstration,
        }
        for entry in WeightsCatalogue.load()
    ]


def models_folder() -> str:
    """Where files of a person's own are found."""
    return str(models_folders()[0])
