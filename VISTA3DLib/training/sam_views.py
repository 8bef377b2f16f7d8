"""SAM features of a whole volume from three views, streamed to disk so that a killed run continues (spec 5.7).

The reference holds 32 float channels at the volume's resolution twice: 13.4 GB each for 512 x 512 x 400. Here every
view goes to a file of its own, slice after slice and already averaged over the blocks of the working grid, and only
the sum of the three, on the working grid, is in memory.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch.nn import functional as F

from VISTA3DLib.errors import OutputError
from VISTA3DLib.files.atomic import output_error, written_atomically
from VISTA3DLib.geometry import Index3
from VISTA3DLib.progress import Cancel, ProgressCallback, Tracker
from VISTA3DLib.training.sam_features import SliceEncoder
from VISTA3DLib.training.supervoxel_grid import FloatArray, working_shape

# Axis orders of the three views, the slice axis first.
VIEWS: tuple[Index3, ...] = ((2, 0, 1), (1, 0, 2), (0, 1, 2))
_MARKER = "progress.json"


@dataclass(frozen=True, kw_only=True)
class ViewStore:
    """Features of the three views in ``folder``, float32 files of [slice, row, column, channel] on the working grid.

    ``key`` says what they were made of; what another volume or checkpoint left in the folder is thrown away. A slice
    counts only once the marker, which is replaced atomically, says so: whatever was written beyond is written again.
    """

    folder: Path
    key: str
    shape: Index3
    channels: int

    def start(self) -> tuple[int, ...]:
        """Make the folder ready and say how many slices of each view are there from an earlier run.

        Raises ``OutputError`` when the folder cannot be written or has too little room.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            done = self._read_marker()
            if not any(done):
                self._remove_files()
            for view, count in enumerate(done):
                path = self._path(view)
                path.touch()
                os.truncate(path, count * self._slice_bytes(view))
            self._check_room(done)
        except OSError as error:
            raise output_error(self.folder / _MARKER, error) from error
        return done

    def append(self, view: int, features: FloatArray, done: tuple[int, ...]) -> None:
        """Add slices to a view; ``done`` are the counts of all views after this."""
        path = self._path(view)
        try:
            with path.open("ab") as file:
                file.write(np.ascontiguousarray(features).data.cast("B"))
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise output_error(path, error) from error
        with written_atomically(self.folder / _MARKER) as temporary:
            temporary.write_text(json.dumps({"key": self.key, "done": done}), encoding="utf-8")

    def total(self) -> FloatArray:
        """The sum of the three views, float32 [X, Y, Z, channel]."""
        total = np.zeros((*self.shape, self.channels), dtype=np.float32)
        for view, order in enumerate(VIEWS):
            target = total.transpose(*order, 3)
            with self._path(view).open("rb") as file:
                for plane in target:
                    stored = np.frombuffer(file.read(self._slice_bytes(view)), dtype=np.float32)
                    plane += stored.reshape(plane.shape)
        return total

    def remove(self) -> None:
        """Delete the files, and the folder if nothing else is in it."""
        self._remove_files()
        if self.folder.is_dir() and not any(self.folder.iterdir()):
            self.folder.rmdir()

    def _remove_files(self) -> None:
        for path in (self.folder / _MARKER, *map(self._path, range(len(VIEWS)))):
            path.unlink(missing_ok=True)

    def _path(self, view: int) -> Path:
        return self.folder / f"view-{view}.float32"

    def _slice_bytes(self, view: int) -> int:
        _, rows, columns = (self.shape[axis] for axis in VIEWS[view])
        return rows * columns * self.channels * 4

    def _read_marker(self) -> tuple[int, ...]:
        nothing = (0,) * len(VIEWS)
        marker = self.folder / _MARKER
        if not marker.exists():
            return nothing
        try:
            stored = json.loads(marker.read_text(encoding="utf-8"))
            if stored["key"] != self.key:
                return nothing
            counts = [int(count) for count in stored["done"]]
        except (ValueError, LookupError, TypeError):
            return nothing
        complete = all(
            self._path(view).exists() and self._path(view).stat().st_size >= count * self._slice_bytes(view)
            for view, count in enumerate(counts)
        )
        return tuple(counts) if complete and len(counts) == len(VIEWS) else nothing

    def _check_room(self, done: tuple[int, ...]) -> None:
        missing = sum(
            (self.shape[order[0]] - count) * self._slice_bytes(view)
            for view, (order, count) in enumerate(zip(VIEWS, done, strict=True))
        )
        free = shutil.disk_usage(self.folder).free
        if missing > free:
            raise OutputError(
                f"The features need {missing / 1e9:.1f} GB in {self.folder}; {free / 1e9:.1f} GB are free.",
                "Free some space, give another work folder, or ask for larger working voxels.",
            )


def view_features(
    hu: npt.NDArray[Any],
    blocks: Index3,
    encoder: SliceEncoder,
    folder: Path,
    checkpoint: Path,
    *,
    slices_at_once: int,
    progress: ProgressCallback | None = None,
    cancel: Cancel | None = None,
) -> ViewStore:
    """The features of three views of ``hu`` [I, J, K] on the working grid, complete; the caller removes them."""
    shape = working_shape(hu.shape, blocks)
    store = ViewStore(folder=folder, key=_key(hu, blocks, checkpoint), shape=shape, channels=encoder.channels)
    counts = list(store.start())
    left = sum(shape[order[0]] - count for order, count in zip(VIEWS, counts, strict=True))
    tracker = Tracker("SAM features", left, progress, cancel)
    if any(counts):
        tracker.note(f"Continuing: {sum(counts)} of {sum(shape)} slices are there from an earlier run.")
    for view, order in enumerate(VIEWS):
        slices, own = hu.transpose(order), [blocks[axis] for axis in order]
        step = max(1, slices_at_once // own[0])
        while counts[view] < shape[order[0]]:
            first, last = counts[view], min(counts[view] + step, shape[order[0]])
            features = _block_features(slices[first * own[0] : last * own[0]], own, encoder, slices_at_once)
            counts[view] = last
            store.append(view, features, tuple(counts))
            tracker.step(last - first)
    return store


def _block_features(
    slices: npt.NDArray[Any], blocks: list[int], encoder: SliceEncoder, slices_at_once: int
) -> FloatArray:
    """Features of some native slices, averaged over blocks of slices, rows and columns: [slice, row, column, channel].

    On the CPU slices are encoded one by one: attention over a whole slice takes gigabytes, and batches gain nothing.
    """
    at_once = slices_at_once if encoder.device.type != "cpu" else 1
    parts = []
    for start in range(0, len(slices), at_once):
        chunk = torch.from_numpy(np.ascontiguousarray(slices[start : start + at_once], dtype=np.float32))
        features = encoder(chunk)
        if max(blocks[1:]) > 1:  # the last block may be smaller, and is the mean of what it has
            features = F.avg_pool2d(features, blocks[1:], ceil_mode=True, count_include_pad=False)
        parts.append(features.permute(0, 2, 3, 1).cpu())
    joined = torch.cat(parts)
    if blocks[0] > 1:
        joined = torch.stack([joined[i : i + blocks[0]].mean(dim=0) for i in range(0, len(joined), blocks[0])])
    return joined.contiguous().numpy()


def _key(hu: npt.NDArray[Any], blocks: Index3, checkpoint: Path) -> str:
    """What the features depend on, as a hash; plane by plane, for volumes of any memory order."""
    digest = hashlib.blake2b(digest_size=16)
    for plane in hu:
        digest.update(np.ascontiguousarray(plane).data)
    state = checkpoint.stat()
    digest.update(repr((hu.shape, str(hu.dtype), blocks, state.st_size, state.st_mtime_ns)).encode())
    return digest.hexdigest()
