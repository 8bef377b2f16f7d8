"""Slicer's displayable managers for a view of the test host."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import slicer


def managers_of_view(factory: Any, names: Iterable[str], application_logic: Any, renderer: Any, node: Any) -> Any:
    """The group of the managers ``names`` that draws the view ``node`` with ``renderer``."""
    factory.SetMRMLApplicationLogic(application_logic)
    for name in names:
        if not factory.IsDisplayableManagerRegistered(name):
            factory.RegisterDisplayableManager(name)
    group = slicer.vtkMRMLDisplayableManagerGroup()
    group.SetRenderer(renderer)
    group.Initialize(factory, renderer)
    group.SetMRMLDisplayableNode(node)
    return group
