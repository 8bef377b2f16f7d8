"""The second click near the first, with the full network of 218 million parameters (random weights)."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import torch

from benchmarks.measure import measured, report
from VISTA3DLib.devices import Runtime
from VISTA3DLib.geometry import Grid
from VISTA3DLib.model import Model
from VISTA3DLib.network import seeded_network
from VISTA3DLib.points import ClickEngine, ClickSet
from VISTA3DLib.preprocess import PreparedVolume
from VISTA3DLib.progress import Tracker
from VISTA3DLib.settings import NetworkSettings

SHAPE = (160, 150, 170)
CLICKS = np.array([[80.0, 75.0, 85.0], [92.0, 70.0, 80.0]])


def the_model() -> Model:
    """The published architecture with random weights of a fixed seed."""
    settings = NetworkSettings()
    return Model(seeded_network(settings, 0), settings, Runtime(device=torch.device("cpu")))


def the_image() -> torch.Tensor:
    """A smooth image on the model's grid."""
    generator = torch.Generator().manual_seed(2)
    coarse = torch.rand(1, 1, *(n // 8 for n in SHAPE), generator=generator)
    return torch.nn.functional.interpolate(coarse, SHAPE, mode="trilinear")[0, 0].contiguous()


def ours() -> None:
    """The window of the first click is cached: only the point head runs."""
    image = the_image()
    grid = Grid(shape=SHAPE, affine=np.diag([1.5, 1.5, 1.5, 1.0]))
    engine = ClickEngine(the_model(), PreparedVolume(volume_grid=grid, grid=grid, image=image, crop=grid.box))

    def ask(count: int) -> dict[str, Any]:
        clicks = ClickSet(index=CLICKS[:count], positive=(True,) * count, labels=(1,) * count)
        patches = engine.logits(clicks, Tracker("windows", 1))
        return {"positive": int((patches[0].logits > 0).sum())}

    first = measured(lambda: ask(1))
    second = measured(lambda: ask(2))
    second.result["first_cpu"] = first.cpu
    report(second)


def theirs() -> None:
    """Both windows are run again, as MONAI's point window inferer does on every call."""
    from benchmarks.reference import reference_clicks

    model, image = the_model(), the_image()
    first = measured(lambda: {"positive": int((reference_clicks(model, image, CLICKS[:1], [1]) > 0).sum())})
    second = measured(lambda: {"positive": int((reference_clicks(model, image, CLICKS, [1, 1]) > 0).sum())})
    second.result["first_cpu"] = first.cpu
    report(second)


if __name__ == "__main__":
    {"ours": ours, "theirs": theirs}[sys.argv[1]]()
