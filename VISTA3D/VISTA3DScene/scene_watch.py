"""What happens in the scene while nobody asks us: nodes go, the scene is closed, others edit, transforms move."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from VISTA3DScene.bench import Bench
from VISTA3DScene.point_desk import PointDesk
from VISTA3DScene.signals import Observers
from VISTA3DScene.worker_link import WorkerLink

if TYPE_CHECKING:
    from VISTA3DScene.workbench import Workbench

_SETTLE_SECONDS = 0.2  # an edit fires many events: it is looked at once it is over


class SceneWatch:
    """Observes the scene, the volume and the segmentation, and keeps the workbench usable."""

    def __init__(self, bench: Bench, points: PointDesk, link: WorkerLink, workbench: Workbench) -> None:
        self._bench, self._points, self._link, self._workbench = bench, points, link, workbench
        self._scene, self._volume, self._segmentation = Observers(), Observers(), Observers()
        self._closing = self._looking = False
        scene = bench.scene
        self._scene.add(scene, scene.StartCloseEvent, self._scene_closes)
        self._scene.add(scene, scene.EndCloseEvent, self._scene_ready)
        self._scene.add(scene, scene.EndImportEvent, self._scene_ready)
        self._scene.add(scene, scene.EndRestoreEvent, self._scene_ready)
        self._scene.add_with_node(scene, scene.NodeAboutToBeRemovedEvent, self._node_leaves)
        self._scene.add_with_node(scene, scene.NodeRemovedEvent, self._node_removed)

    def volume_changed(self) -> None:
        """Observe the volume that was chosen."""
        self._volume.close()
        volume = self._bench.volume
        if volume is not None:
            self._volume.add(volume, volume.TransformModifiedEvent, self._volume_moved)
            self._volume.add(volume, volume.ImageDataModifiedEvent, self._volume_edited)

    def segmentation_changed(self) -> None:
        """Observe the segmentation that was chosen."""
        self._segmentation.close()
        node = self._bench.segmentation
        if node is None or self._bench.ledger is None:  # asking for the book opens it: from now on all is written down
            return
        inner = node.GetSegmentation()
        for event in (
            inner.SourceRepresentationModified,
            inner.SegmentAdded,
            inner.SegmentRemoved,
            inner.SegmentModified,
        ):
            self._segmentation.add(inner, event, self._segmentation_edited)

    def close(self) -> None:
        """Stop observing."""
        for observers in (self._scene, self._volume, self._segmentation):
            observers.close()

    def _scene_closes(self, _scene: Any, _event: str) -> None:
        self._closing = True
        with self._bench.guarded():
            self._let_go_of_volume()
            self._let_go_of_segmentation()
            self._bench.forget_ledgers()
            self._points.nodes.forget()

    def _scene_ready(self, _scene: Any, _event: str) -> None:
        self._closing = False
        with self._bench.guarded():
            self._points.nodes.open()
            self._points.show()
            self._bench.mark()

    def _node_leaves(self, node: Any) -> None:
        """Before selectors of nodes look for another one: that a CT is deleted is no choice of the next one."""
        if self._closing or self._bench.closed:
            return
        with self._bench.guarded():
            if node is self._bench.volume:
                self._let_go_of_volume()
                self._bench.said.emit(f"The volume '{node.GetName()}' was deleted.")
            elif node is self._bench.segmentation:
                self._let_go_of_segmentation()

    def _node_removed(self, node: Any) -> None:
        if self._closing or self._bench.closed:
            return
        with self._bench.guarded():
            self._bench.forget_ledger(node)
            if node is self._points.preview_node.node:
                self._points.stop()
            elif self._points.nodes.owns(node):
                self._bench.later(0.0, self._reopen_points)

    def _let_go_of_volume(self) -> None:
        self._points.stop()
        self._bench.volume = None
        self._volume.close()
        self._link.set_volume(None)
        self._bench.mark()

    def _let_go_of_segmentation(self) -> None:
        self._points.stop()
        self._bench.segmentation, self._bench.selected = None, None
        self._segmentation.close()
        if not self._closing:
            self._points.show()
        self._bench.mark()

    def _reopen_points(self) -> None:
        if not self._bench.closed and not self._closing:
            self._points.nodes.open()
            self._points.show()
            self._bench.mark()

    def _volume_moved(self, _volume: Any, _event: str) -> None:
        if not self._closing and not self._bench.closed:
            self._points.show()

    def _volume_edited(self, _volume: Any, _event: str) -> None:
        self._bench.mark()  # it is handed over again with the next question

    def _segmentation_edited(self, _inner: Any, _event: str) -> None:
        if not self._bench.writing and not self._looking:
            self._looking = True
            self._bench.later(_SETTLE_SECONDS, self._look)

    def _look(self) -> None:
        self._looking = False
        ledger = self._bench.ledger
        if self._bench.closed or self._closing or ledger is None:
            return
        with self._bench.guarded():
            with self._bench.own_writing():
                ledger.collect()
            self._points.show()
            self._bench.mark()
