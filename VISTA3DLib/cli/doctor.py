"""``vista3d doctor``: what to paste into a bug report."""

from __future__ import annotations

import importlib.metadata
import json
import platform
import sys
from typing import Annotated, Any

import typer

from VISTA3DLib import __version__
from VISTA3DLib.errors import DeviceError

_PACKAGES = (
    "numpy",
    "torch",
    "monai",
    "scipy",
    "SimpleITK",
    "nibabel",
    "pydicom",
    "highdicom",
    "safetensors",
    "huggingface_hub",
    "connected-components-3d",
    "ray",
    "trame-slicer",
)


def doctor(as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """Report versions, device, memory and weights, and whether the device really computes."""
    report = examine()
    if as_json:
        typer.echo(json.dumps(report, indent=1))
        return
    for title, content in report.items():
        typer.echo(f"{title}:")
        rows = content.items() if isinstance(content, dict) else [("", content)]
        for name, value in rows:
            typer.echo(f"  {name + ': ' if name else ''}{value}")


def examine() -> dict[str, Any]:
    """Everything that ``doctor`` prints, as plain values. Nothing personal: no paths of the user's files."""
    return {
        "vista3d": {"version": __version__},
        "system": {
            "python": sys.version.split()[0],
            "platform": platform.platform(),
            "processor": platform.processor() or platform.machine(),
        },
        "packages": {name: _version(name) for name in _PACKAGES},
        "devices": _devices(),
        "weights": _weights(),
    }


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def _devices() -> dict[str, str]:
    import torch

    from VISTA3DLib.devices import choose_runtime, describe_device
    from VISTA3DLib.estimate import measured_gflops

    names = ["cpu"]
    if torch.cuda.is_available():
        names += [f"cuda:{i}" for i in range(torch.cuda.device_count())]
    if torch.backends.mps.is_available():
        names.append("mps")
    report = {"cuda build": str(torch.version.cuda or "no")}
    for name in names:
        try:
            runtime = choose_runtime(name)
            speed = measured_gflops(runtime, 16)
            report[name] = (
                f"{describe_device(runtime.device)}; the network's layers at {speed:.0f} GFLOP/s in {runtime.precision}"
            )
        except DeviceError as error:
            report[name] = f"{error.message} {error.fix}"
    return report


def _weights() -> dict[str, str]:
    from VISTA3DLib.download import is_downloaded
    from VISTA3DLib.weights import WeightsCatalogue

    catalogue = WeightsCatalogue.load()
    report = {
        e.id: ("here" if is_downloaded(e) else "not downloaded") + f"; {e.note}" * bool(e.note) for e in catalogue
    }
    return {**report, **{f"problem {n}": p for n, p in enumerate(catalogue.problems, start=1)}}
