"""From a file, a folder or an upload to what the views show. Work that is open is closed only after asking."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from VISTA3DScene.frames import volume_grid
from VISTA3DScene.workbench import Workbench

from VISTA3DLib.errors import ReadError, VISTA3DError
from VISTA3DLib.samples import sample_volume
from VISTA3DLib.volume import Volume
from VISTA3DWeb.reading import (
    Opened,
    OpenedScene,
    OpenedSegmentation,
    OpenedVolume,
    SeveralSeries,
    read_anything,
)
from VISTA3DWeb.scene_files import add_segments, copy_segments, load_scene, nodes_of, read_seg_nrrd
from VISTA3DWeb.volume_nodes import add_volume, remove_node


class Opener:
    """Opens things one after the other. ``shown`` is called with the CT when another one is open.

    ``busy`` gets a text while files are read, and an empty one afterwards; ``ask`` a name when what is open would be
    closed: then ``replace`` or ``keep`` goes on; ``choose`` what a folder holds if it is more than one CT: then
    ``open_series`` or ``keep``.
    """

    def __init__(
        self,
        scene: Any,
        workbench: Workbench,
        folder: Path,
        *,
        shown: Callable[[Any], None],
        busy: Callable[[str], None],
        ask: Callable[[str], None],
        choose: Callable[[SeveralSeries], None],
        failed: Callable[[VISTA3DError], None],
    ) -> None:
        self._scene, self._workbench, self._folder = scene, workbench, folder
        self._shown, self._busy, self._ask, self._failed = shown, busy, ask, failed
        self._choose = choose
        self._lock = asyncio.Lock()
        self._waiting: tuple[Opened, Path | None] | None = None
        self._choice: tuple[Path, Path | None] | None = None
        self._kept: Path | None = None  # the uploaded files of the CT that is open
        self.source_files: tuple[Path, ...] = ()

    async def open_paths(self, paths: Sequence[Path], *, series: str | None = None, upload: Path | None = None) -> None:
        """Open a file, a folder, or files that belong together; ``upload`` is the folder to remove when not needed."""
        name = paths[0].name if paths else ""
        volume = self._workbench.volume
        grid = volume_grid(volume) if volume is not None else None
        await self._open(f"Reading {name}", lambda: read_anything(paths, series=series, grid=grid), upload)

    async def open_sample(self) -> None:
        """Open the built-in phantom."""
        await self._open("Making the phantom", lambda: OpenedVolume(volume=sample_volume()), None)

    async def replace(self) -> None:
        """Open what waits, in place of what is open."""
        waiting, self._waiting = self._waiting, None
        if waiting is not None:
            async with self._lock:
                self._try(waiting[0], waiting[1])

    async def open_series(self, uid: str) -> None:
        """Open one of the series that were offered."""
        choice, self._choice = self._choice, None
        if choice is not None:
            await self.open_paths([choice[0]], series=uid, upload=choice[1])

    def keep(self) -> None:
        """Leave open what is open."""
        waiting, self._waiting = self._waiting, None
        choice, self._choice = self._choice, None
        for put_aside in (waiting, choice):
            if put_aside is not None:
                _remove(put_aside[1])

    async def _open(self, text: str, read: Callable[[], Opened | SeveralSeries], upload: Path | None) -> None:
        async with self._lock:
            self._busy(text)
            try:
                opened = await asyncio.get_running_loop().run_in_executor(None, read)
            except VISTA3DError as error:
                _remove(upload)
                self._fail(error, upload)
                return
            finally:
                self._busy("")
            self.keep()
            if isinstance(opened, SeveralSeries):
                self._choice = (opened.path, upload)
                self._choose(opened)
                return
            closes = not isinstance(opened, OpenedSegmentation)
            if closes and self._workbench.segments:
                self._waiting = (opened, upload)
                self._ask(_name_of(opened))
                return
            self._try(opened, upload)

    def _try(self, opened: Opened, upload: Path | None) -> None:
        try:
            self._apply(opened, upload)
        except VISTA3DError as error:
            self._fail(error, upload)
        finally:
            if upload != self._kept:
                _remove(upload)

    def _fail(self, error: VISTA3DError, upload: Path | None) -> None:
        """Tell the person, who knows an uploaded file by its name and not by our folder."""
        place = "" if upload is None else f"{upload}{os.sep}"
        texts = (text.replace(place, "") if place else text for text in (error.message, error.fix))
        self._failed(VISTA3DError(*texts))

    def _apply(self, opened: Opened, upload: Path | None) -> None:
        if isinstance(opened, OpenedVolume):
            self._show_volume(opened.volume, upload)
        elif isinstance(opened, OpenedScene):
            self._show_scene(opened.path)
        else:
            self._show_segmentation(opened)

    def _show_volume(self, volume: Volume, upload: Path | None) -> None:
        self._close_present()
        self._take_files(volume.source_files, upload)
        node = add_volume(self._scene, volume)
        self._workbench.set_volume(node)
        self._shown(node)

    def _show_scene(self, path: Path) -> None:
        self._close_present()
        self._take_files((), None)
        try:
            load_scene(self._scene, path, self._folder)
        finally:
            volumes = [
                node
                for node in nodes_of(self._scene, "vtkMRMLScalarVolumeNode")
                if node.GetImageData() is not None and node.GetClassName() != "vtkMRMLLabelMapVolumeNode"
            ]
            segmentations = nodes_of(self._scene, "vtkMRMLSegmentationNode")
            self._workbench.set_volume(volumes[0] if volumes else None)
            if segmentations:
                self._workbench.set_segmentation(segmentations[0])
            self._shown(volumes[0] if volumes else None)
        if not volumes:
            raise ReadError(f"{path.name} holds no CT.", "Open the CT itself.")

    def _show_segmentation(self, opened: OpenedSegmentation) -> None:
        if self._workbench.volume is None:
            raise ReadError(f"{opened.path.name} is a segmentation.", "Open its CT first.")
        if opened.file is None:
            node = read_seg_nrrd(self._scene, opened.path)
        else:
            node = self._scene.AddNewNodeByClass("vtkMRMLSegmentationNode", opened.path.name.split(".")[0])
            add_segments(node, opened.file)
        node.CreateDefaultDisplayNodes()
        present = self._workbench.segmentation
        if present is not None and self._workbench.segments:
            copy_segments(node, present)
            remove_node(self._scene, node)
            self._workbench.set_segmentation(present)
            return
        self._workbench.set_segmentation(node)
        if present is not None:
            remove_node(self._scene, present)

    def _close_present(self) -> None:
        volume, segmentation = self._workbench.volume, self._workbench.segmentation
        self._workbench.set_segmentation(None)
        self._workbench.set_volume(None)
        remove_node(self._scene, segmentation)
        remove_node(self._scene, volume)

    def _take_files(self, files: tuple[Path, ...], upload: Path | None) -> None:
        """DICOM SEG refers to the files of the CT: they stay while it is open."""
        _remove(self._kept)
        self._kept = upload if files else None
        self.source_files = files


def _name_of(opened: Opened) -> str:
    return opened.volume.name if isinstance(opened, OpenedVolume) else opened.path.name


def _remove(folder: Path | None) -> None:
    if folder is not None:
        shutil.rmtree(folder, ignore_errors=True)
