"""The automatic branch over a whole volume: windows in, blended features out, a few planes at a time.

The reference blends K class logits over the whole volume and looks for the largest afterwards. Logits are a fixed
table times 48 features, so blending the features first gives the same sums (up to rounding) in 48 channels instead of
K, and each voxel is classified once. Windows are visited along the longest axis: as soon as no later window can touch
a plane it is final, handed on, and its place in a ring of one window's length is used again. Memory does not grow
with the length of the scan.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from monai.data.utils import compute_importance_map
from torch.nn import functional as F

from VISTA3DLib.devices import is_out_of_memory
from VISTA3DLib.errors import MemoryLimitError
from VISTA3DLib.geometry import Index3
from VISTA3DLib.model import Model
from VISTA3DLib.progress import Tracker
from VISTA3DLib.settings import Mode
from VISTA3DLib.windows import WindowLattice, window_lattice


@dataclass(frozen=True, kw_only=True, eq=False)
class FeatureSlab:
    """Final planes ``start`` to ``stop`` along ``axes[0]`` of the image.

    ``features`` (C, planes, A, B) are sums over windows, weighted; ``weights`` (planes, A, B) the sums of the
    weights. Weights are positive and the same for all classes, so the sums alone decide a label. A and B run along
    ``axes[1]`` and ``axes[2]``.
    """

    start: int
    stop: int
    axes: Index3
    features: torch.Tensor
    weights: torch.Tensor


def stream_axes(shape: Index3) -> Index3:
    """The image axes with the longest first, the others in order."""
    longest = max(range(3), key=lambda a: shape[a])
    rest = [a for a in range(3) if a != longest]
    return longest, rest[0], rest[1]


def blended_features(
    model: Model, image: torch.Tensor, mode: Mode, tracker: Tracker, *, batch: int = 1, ring_dtype: torch.dtype
) -> Iterator[FeatureSlab]:
    """Run all windows of ``image`` (float32 [X, Y, Z], scaled) and yield its blended features plane by plane.

    A slab is a view of memory that is used again: read it before asking for the next. The tracker counts windows.
    When memory runs out, the batch is halved, then the ring goes to float16, then to the CPU; each is reported as a
    note, and no finished window is lost. Raises ``MemoryLimitError`` when nothing is left to try,
    ``CancelledError`` between windows.
    """
    lattice = window_lattice(_shape3(image), model.settings.window, mode.overlap)
    axes = stream_axes(lattice.padded_shape)
    padded = pad_image(image, lattice, mode)
    ring = _new_ring(model, lattice, axes, mode, ring_dtype, tracker)
    layers = lattice.starts[axes[0]]
    for n, layer in enumerate(layers):
        starts = [s for s in lattice.ordered(axes) if s[axes[0]] == layer]
        batch = _run_layer(model, padded, starts, ring, tracker, batch)
        final = layers[n + 1] if n + 1 < len(layers) else lattice.padded_shape[axes[0]]
        yield from _unpadded(ring, layer, final, lattice, axes)


def pad_image(image: torch.Tensor, lattice: WindowLattice, mode: Mode) -> torch.Tensor:
    """The image with the lattice's padding: zeros (the lowest intensity) or the border's values."""
    pads = [p for a in (2, 1, 0) for p in (lattice.before[a], lattice.after[a])]
    if not any(pads):
        return image
    kind = "replicate" if mode.padding == "replicate" else "constant"
    return F.pad(image[None, None], pads, mode=kind)[0, 0]


class FeatureRing:
    """Sums of window features along the stream axis, one window long; plane p lives at p modulo the length."""

    def __init__(
        self, channels: int, window: Index3, plane: tuple[int, int], axes: Index3, weight: torch.Tensor
    ) -> None:
        self.axes = axes
        self.length = window[axes[0]]
        self._shape = (channels, self.length, *plane)
        self._weight = weight.permute(axes)
        self._weighted = not bool((weight == 1).all())
        self.sums = torch.empty(0)
        self.weights = torch.empty(0)

    def allocate(self, device: torch.device, dtype: torch.dtype) -> None:
        """Take the memory; everything is zero."""
        self.sums = torch.zeros(self._shape, device=device, dtype=dtype)
        self.weights = torch.zeros(self._shape[1:], device=device, dtype=torch.float32)
        self._weight = self._weight.to(device)

    def add(self, start: Index3, features: torch.Tensor) -> None:
        """Add one window's features (C, *window) at its place in the padded image."""
        s, a, b = (start[axis] for axis in self.axes)
        turned = features.permute(0, *(axis + 1 for axis in self.axes)).to(self.sums.device)
        weight = self._weight
        if self._weighted:
            turned = turned * weight  # the only allocation, before anything is written: a retry adds nothing twice
        size_a, size_b = turned.shape[2:]
        head = s % self.length
        first = self.length - head
        for ring, part in ((slice(head, None), slice(0, first)), (slice(0, head), slice(first, None))):
            self.sums[:, ring, a : a + size_a, b : b + size_b] += turned[:, part]
            self.weights[ring, a : a + size_a, b : b + size_b] += weight[part]

    def take(self, start: int, stop: int) -> Iterator[tuple[int, int, torch.Tensor, torch.Tensor]]:
        """Hand out the planes ``start`` to ``stop`` in order, as one or two views, and clear them afterwards."""
        while start < stop:
            place = start % self.length
            count = min(stop - start, self.length - place)
            piece = slice(place, place + count)
            yield start, start + count, self.sums[:, piece], self.weights[piece]
            self.sums[:, piece] = 0
            self.weights[piece] = 0
            start += count

    def shrink(self) -> str:
        """Use less device memory and keep the content: float16 first, then the CPU. Says what was done."""
        device, dtype = self.sums.device, self.sums.dtype
        sums, weights = self.sums.to("cpu", torch.float32), self.weights.cpu()
        self.sums, self.weights = torch.empty(0), torch.empty(0)
        if device.type == "cuda":
            torch.cuda.empty_cache()
        if device.type == "cpu" or dtype == torch.float16:
            self.sums, self.weights, self._weight = sums, weights, self._weight.cpu()
            return "The features are stitched on the CPU."
        self.sums, self.weights = sums.to(device, torch.float16), weights.to(device)
        return "The features are stitched in half precision."

    @property
    def smallest(self) -> bool:
        """Whether ``shrink`` has nothing left to give."""
        return self.sums.device.type == "cpu"


def _new_ring(
    model: Model, lattice: WindowLattice, axes: Index3, mode: Mode, dtype: torch.dtype, tracker: Tracker
) -> FeatureRing:
    plane = (lattice.padded_shape[axes[1]], lattice.padded_shape[axes[2]])
    weight = compute_importance_map(lattice.window, mode=mode.blend, sigma_scale=0.125)
    ring = FeatureRing(model.settings.filters, lattice.window, plane, axes, torch.as_tensor(weight))
    attempts = [(model.device, dtype), (model.device, torch.float16), (torch.device("cpu"), torch.float32)]
    for device, kind in attempts:
        try:
            ring.allocate(device, kind)
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
            tracker.note(f"No room for the features on {device} in {kind}; trying something smaller.")
        else:
            return ring
    raise MemoryLimitError(
        f"The features of {lattice.window[axes[0]]} planes of {plane[0]} x {plane[1]} voxels do not fit into memory.",
        "Limit the run to a region of interest, or close other programs.",
    )


def _run_layer(
    model: Model, padded: torch.Tensor, starts: list[Index3], ring: FeatureRing, tracker: Tracker, batch: int
) -> int:
    """Run the windows of one layer; returns the batch size that worked."""
    done = 0
    while done < len(starts):
        chosen = starts[done : done + batch]
        try:
            features = model.automatic_features(_cut(padded, chosen, model.settings.window))
            for start, window_features in zip(chosen, features, strict=True):
                ring.add(start, window_features)
                done += 1
                tracker.step()
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            batch = _make_room(ring, batch, tracker, error)
    return batch


def _make_room(ring: FeatureRing, batch: int, tracker: Tracker, error: BaseException) -> int:
    if batch > 1:
        tracker.note(f"Out of memory: {batch // 2} instead of {batch} windows at once.")
        return batch // 2
    if ring.smallest:
        raise MemoryLimitError(
            "One window does not fit into memory, even alone and with the features on the CPU.",
            "Close other programs, use a smaller precision (--precision fp16) or --device cpu.",
        ) from error
    tracker.note(f"Out of memory: {ring.shrink()}")
    return 1


def _unpadded(ring: FeatureRing, start: int, stop: int, lattice: WindowLattice, axes: Index3) -> Iterator[FeatureSlab]:
    """Take planes from the ring and hand on those that belong to the image, in the image's coordinates."""
    before = [lattice.before[a] for a in axes]
    size = [lattice.image_shape[a] for a in axes]
    a, b = (slice(o, o + n) for o, n in zip(before[1:], size[1:], strict=True))
    for first, last, sums, weights in ring.take(start, stop):
        low, high = max(first, before[0]), min(last, before[0] + size[0])
        if low >= high:
            continue
        inner = slice(low - first, high - first)
        yield FeatureSlab(
            start=low - before[0],
            stop=high - before[0],
            axes=axes,
            features=sums[:, inner, a, b],
            weights=weights[inner, a, b],
        )


def _cut(padded: torch.Tensor, starts: list[Index3], window: Index3) -> torch.Tensor:
    cuts = [padded[tuple(slice(s, s + w) for s, w in zip(start, window, strict=True))] for start in starts]
    return torch.stack(cuts)[:, None]


def _shape3(image: torch.Tensor) -> Index3:
    i, j, k = image.shape
    return int(i), int(j), int(k)
