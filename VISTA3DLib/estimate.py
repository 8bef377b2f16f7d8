"""What a run will cost, said before it starts: windows, seconds, memory."""

from __future__ import annotations

import time
from dataclasses import dataclass
from statistics import median

import torch
from torch.nn import functional as F

from VISTA3DLib.devices import Runtime, free_bytes
from VISTA3DLib.geometry import Box
from VISTA3DLib.settings import Mode, NetworkSettings
from VISTA3DLib.windows import window_lattice

# Peak of one window beyond its weights, in full-resolution feature tensors; measured: 7.1 to 7.6 (docs/benchmarks.md).
_ACTIVATION_TENSORS = 8.0
_BYTES = {"fp32": 4, "fp16": 2, "bf16": 2}


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """Cost of one automatic run. Bytes are at the peak; ``seconds`` is None when the speed is not known yet."""

    windows: int
    seconds: float | None
    device_bytes: int
    host_bytes: int
    free_device_bytes: int
    free_host_bytes: int

    @property
    def fits(self) -> bool:
        """Whether it fits without any fallback."""
        return self.device_bytes <= self.free_device_bytes and self.host_bytes <= self.free_host_bytes

    def __str__(self) -> str:
        time_text = "time unknown" if self.seconds is None else f"about {_duration(self.seconds)}"
        return (
            f"{self.windows} window{'' if self.windows == 1 else 's'}, {time_text}, "
            f"{self.device_bytes / 2**30:.1f} GiB on the device "
            f"({self.free_device_bytes / 2**30:.1f} free), {self.host_bytes / 2**30:.1f} GiB of memory"
        )


def estimate_run(
    settings: NetworkSettings,
    mode: Mode,
    runtime: Runtime,
    region: Box,
    *,
    volume_voxels: int,
    classes: int,
    overlapping: bool,
    seconds_per_window: float | None,
    batch: int = 1,
) -> Estimate:
    """Count the windows of ``region`` (model voxels) and what they and the result take.

    ``seconds_per_window`` is what earlier windows took, None if there were none.
    """
    lattice = window_lattice(region.shape, settings.window, mode.overlap)
    shape = sorted(lattice.padded_shape)
    window = settings.window[0] * settings.window[1] * settings.window[2]
    ring = 4 * (settings.filters + 1) * max(settings.window) * shape[0] * shape[1]
    activations = int(_ACTIVATION_TENSORS * settings.filters * window * _BYTES[runtime.precision] * batch)
    result = region.size * (-(-classes // 8) if overlapping else 1) + volume_voxels
    on_cpu = runtime.device.type == "cpu"
    device_bytes = ring + activations + 4 * region.size
    return Estimate(
        windows=lattice.count,
        seconds=None if seconds_per_window is None else seconds_per_window * lattice.count,
        device_bytes=device_bytes,
        host_bytes=result + (device_bytes if on_cpu else 0),
        free_device_bytes=free_bytes(runtime.device),
        free_host_bytes=free_bytes(torch.device("cpu")),
    )


def window_gflop(settings: NetworkSettings) -> float:
    """Multiply-adds times two of one automatic window's convolutions, in 1e9 (spec 1.3 counts the same)."""
    voxels = settings.window[0] * settings.window[1] * settings.window[2]
    f, levels = settings.filters, len(settings.blocks_down)
    total = 27.0 * f * voxels  # the first convolution
    for level, blocks in enumerate(settings.blocks_down):
        channels, size = f * 2**level, voxels / 8**level
        total += blocks * 2 * 27.0 * channels**2 * size
        if level < levels - 1:
            total += 27.0 * channels * 2 * channels * size / 8  # downsampling
            total += 27.0 * 2 * channels * channels * size / 8  # the decoder's transposed convolution
            total += 2 * 27.0 * channels**2 * size  # its block
    total += f * f * voxels + 4 * 27.0 * f**2 * voxels  # output convolution and class head
    return 2.0 * total / 1e9


def measured_gflops(runtime: Runtime, channels: int) -> float:
    """How many 1e9 operations a second the network's layers reach on this device: the middle of three.

    A layer is norm, activation and convolution of ``channels`` at full resolution, as the network lays them out in
    memory. Of smaller windows PyTorch gives some to slower convolutions, and a bare convolution is twice as fast as a
    network of such layers. Takes 0.2 s for 16 channels and 1 s for 48 on two cores.
    """
    side = 64
    with runtime.autocast(), torch.inference_mode():
        image = torch.zeros(1, channels, side, side, side, device=runtime.device)
        weight = torch.zeros(channels, channels, 3, 3, 3, device=runtime.device)
        image, weight = (t.contiguous(memory_format=runtime.memory_format) for t in (image, weight))
        seconds = []
        for _ in range(3):
            start = time.perf_counter()
            F.conv3d(F.relu(F.instance_norm(image)), weight, padding=1).sum().item()
            seconds.append(time.perf_counter() - start)
    return 2.0 * 27.0 * channels**2 * side**3 / median(seconds) / 1e9


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min"
