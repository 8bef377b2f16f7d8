"""Which device and number format the network runs on, checked by doing something with it."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass

import psutil
import torch

from VISTA3DLib.errors import DeviceError
from VISTA3DLib.settings import Precision

_DTYPES: dict[str, torch.dtype] = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}


@dataclass(frozen=True, kw_only=True)
class Runtime:
    """A device and the number format of the network's convolutions on it (sums and norms stay float32).

    ``compile``: let ``torch.compile`` fuse the network (on CUDA with CUDA graphs). The first windows then take a
    minute or more, and a C++ compiler must be there; it pays for long runs.
    """

    device: torch.device
    precision: Precision = "fp32"
    compile: bool = False

    @property
    def dtype(self) -> torch.dtype:
        """The torch type of ``precision``."""
        return _DTYPES[self.precision]

    @property
    def memory_format(self) -> torch.memory_format:
        """How windows and convolutions lie in memory: channels last, which MPS does not know for volumes."""
        return torch.contiguous_format if self.device.type == "mps" else torch.channels_last_3d

    def autocast(self) -> contextlib.AbstractContextManager[None]:
        """Run the block in ``precision``; float32 runs as it is."""
        if self.precision == "fp32":
            return contextlib.nullcontext()
        return torch.autocast(self.device.type, dtype=self.dtype)

    def __str__(self) -> str:
        return f"{self.device} {self.precision}"


def choose_runtime(device: str = "auto", precision: str = "auto", *, compile: bool = False) -> Runtime:
    """Resolve ``auto`` and check that the device answers.

    ``auto`` takes CUDA, then MPS, then the CPU; precision ``auto`` is fp16 on CUDA and fp32 elsewhere. Raises
    ``DeviceError`` when the device is missing, when a small convolution on it fails (a torch build without kernels
    for this GPU), or when the precision does not exist there. Never falls back to the CPU on its own.
    """
    name = _best_device() if device == "auto" else device
    try:
        chosen = torch.device(name)
    except RuntimeError as error:
        raise DeviceError(f"There is no device '{name}'.", "Use auto, cpu, cuda, cuda:1 or mps.") from error
    _check_present(chosen)
    level = ("fp16" if chosen.type == "cuda" else "fp32") if precision == "auto" else precision
    if level not in _DTYPES:
        raise DeviceError(f"There is no precision '{level}'.", "Use auto, fp32, fp16 or bf16.")
    runtime = Runtime(device=chosen, precision=level, compile=compile)  # type: ignore[arg-type]
    _check_kernels(runtime)
    return runtime


def free_bytes(device: torch.device) -> int:
    """Memory that is free on the device now, in bytes (for MPS and the CPU: of the machine)."""
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        return int(free)
    return int(psutil.virtual_memory().available)


def describe_device(device: torch.device) -> str:
    """One line for a person: name and memory."""
    gib = 2**30
    if device.type == "cuda":
        properties = torch.cuda.get_device_properties(device)
        return f"{properties.name}, {free_bytes(device) / gib:.1f} of {properties.total_memory / gib:.1f} GiB free"
    memory = psutil.virtual_memory()
    threads = torch.get_num_threads()
    processor = f"CPU, {threads} thread{'' if threads == 1 else 's'}"
    kind = "Apple GPU (shared memory)" if device.type == "mps" else processor
    return f"{kind}, {memory.available / gib:.1f} of {memory.total / gib:.1f} GiB free"


# The last two are what the CPU's convolutions (oneDNN) say when they get no room to work in.
_NO_MEMORY = (
    "out of memory",
    "can't allocate memory",
    "could not create a primitive",
    "could not create a memory",
)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory ran out, on any device."""
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)):
        return True
    text = str(error).lower()
    return isinstance(error, RuntimeError) and any(words in text for words in _NO_MEMORY)


def _best_device() -> str:
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def _check_present(device: torch.device) -> None:
    if device.type == "cpu":
        return
    if device.type == "cuda":
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if (device.index or 0) < count:
            return
        build = f"PyTorch {torch.__version__} sees {count} CUDA device(s)"
        raise DeviceError(
            f"The device {device} is not there: {build}.",
            "Install a CUDA build of PyTorch that suits the GPU's driver, or use --device cpu.",
        )
    if device.type == "mps" and torch.backends.mps.is_available():
        return
    raise DeviceError(f"The device {device} is not there.", "Use --device cpu.")


def _check_kernels(runtime: Runtime) -> None:
    """A torch build may see a GPU for which it holds no kernels; only running one tells."""
    try:
        with runtime.autocast(), torch.inference_mode():
            image = torch.zeros(1, 8, 4, 4, 4, device=runtime.device)
            weight = torch.zeros(8, 8, 3, 3, 3, device=runtime.device)
            torch.nn.functional.conv3d(image, weight, padding=1).sum().item()
    except RuntimeError as error:
        first_line = str(error).splitlines()[0] if str(error) else repr(error)
        raise DeviceError(
            f"{runtime.device} cannot run a convolution in {runtime.precision}: {first_line}",
            "Install a PyTorch build made for this GPU, choose --precision fp32, or use --device cpu.",
        ) from error
