"""Tags of segments: small texts that are saved with the scene and with the segmentation's file."""

from __future__ import annotations

from typing import Any

import vtk

PROMPTS_TAG = "VISTA3D.Prompts"
TERMINOLOGY_TAG = "TerminologyEntry"
STATUS_TAG = "Segmentation.Status"


def set_tag(segment: Any, name: str, value: str | None) -> None:
    """Set a tag, or remove it with None."""
    if value is None:
        segment.RemoveTag(name)
    else:
        segment.SetTag(name, value)


def get_tag(segment: Any, name: str) -> str | None:
    """A tag's value, None if it is not there."""
    value = vtk.reference("")
    return str(value) if segment.GetTag(name, value) else None
