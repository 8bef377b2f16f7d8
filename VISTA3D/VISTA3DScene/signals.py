"""Plain Python signals; MRML observers that are given back, and nodes that go completely."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, ParamSpec

import vtk

P = ParamSpec("P")


class Signal(Generic[P]):
    """Calls its listeners in the order in which they came."""

    def __init__(self) -> None:
        self._listeners: list[Callable[P, None]] = []

    def connect(self, listener: Callable[P, None]) -> None:
        """Call ``listener`` from now on."""
        self._listeners.append(listener)

    def disconnect(self, listener: Callable[P, None]) -> None:
        """Stop calling it; nothing happens if it was never connected."""
        if listener in self._listeners:
            self._listeners.remove(listener)

    def emit(self, *args: P.args, **kwargs: P.kwargs) -> None:
        """Call every listener."""
        for listener in list(self._listeners):
            listener(*args, **kwargs)


class Observers:
    """Observers of VTK objects, removed together by ``close``."""

    def __init__(self) -> None:
        self._held: list[tuple[Any, int]] = []

    def add(self, subject: Any, event: Any, callback: Callable[[Any, str], None], priority: float = 0.0) -> None:
        """Observe an event until ``close``; those with a higher priority hear of it first."""
        self._held.append((subject, subject.AddObserver(event, callback, priority)))

    def add_with_node(self, subject: Any, event: Any, callback: Callable[[Any], None]) -> None:
        """Observe an event that brings an object; the callback gets the object only."""

        @vtk.calldata_type(vtk.VTK_OBJECT)  # type: ignore[untyped-decorator]
        def called(_subject: Any, _event: str, node: Any) -> None:
            callback(node)

        self._held.append((subject, subject.AddObserver(event, called)))

    def close(self) -> None:
        """Remove all of them."""
        for subject, tag in self._held:
            subject.RemoveObserver(tag)
        self._held.clear()

    def __len__(self) -> int:
        return len(self._held)


def remove_from_scene(scene: Any, node: Any) -> None:
    """Remove a node with its display and storage nodes, which would otherwise stay behind."""
    if node is None or node.GetScene() is not scene:
        return
    companions = [node.GetNthDisplayNode(n) for n in range(node.GetNumberOfDisplayNodes())]
    companions += [node.GetNthStorageNode(n) for n in range(node.GetNumberOfStorageNodes())]
    scene.RemoveNode(node)
    for companion in companions:
        if companion is not None and companion.GetScene() is scene:
            scene.RemoveNode(companion)
