"""Stitching and classifying 117 classes over a volume, the network's own time apart (a light stub takes its place)."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import torch

from benchmarks.measure import measured, report
from VISTA3DLib.automatic import blended_features
from VISTA3DLib.classes import ClassCatalogue
from VISTA3DLib.devices import Runtime
from VISTA3DLib.labelling import ClassTable, LabelReader
from VISTA3DLib.model import Model
from VISTA3DLib.network import seeded_network
from VISTA3DLib.progress import Tracker
from VISTA3DLib.settings import NetworkSettings, find_mode

SHAPE = (416, 160, 160)
CLASSES = ClassCatalogue.load().sets["everything"]


class StubModel(Model):
    """48 channels from a window by one small convolution; the class table is the real head's."""

    def automatic_features(self, windows: torch.Tensor) -> torch.Tensor:
        """Features (B, 48, *window)."""
        with torch.inference_mode():
            return torch.nn.functional.conv3d(windows, self.stub, padding=1).sin_()

    stub: torch.Tensor


def the_model() -> StubModel:
    """The stub with a fixed seed."""
    settings = NetworkSettings(filters=48, blocks_down=(1, 1), window=(64, 64, 64))
    model = StubModel(seeded_network(settings, 0), settings, Runtime(device=torch.device("cpu")))
    generator = torch.Generator().manual_seed(1)
    model.stub = torch.randn(48, 1, 3, 3, 3, generator=generator) * 3
    return model


def the_image() -> torch.Tensor:
    """An image (X, Y, Z) with structure at several scales."""
    generator = torch.Generator().manual_seed(2)
    coarse = torch.rand(1, 1, *(n // 8 for n in SHAPE), generator=generator)
    return torch.nn.functional.interpolate(coarse, SHAPE, mode="trilinear")[0, 0].contiguous()


def ours() -> None:
    """A ring of features, each voxel classified once."""
    model, image = the_model(), the_image()
    kept: dict[str, Any] = {}

    def work() -> dict[str, Any]:
        reader = LabelReader(ClassTable(model.class_embeddings(CLASSES), CLASSES), SHAPE)
        tracker = Tracker("windows", 1)
        for slab in blended_features(model, image, find_mode("bundle"), tracker, ring_dtype=torch.float32):
            reader.read(slab)
        kept["labels"] = reader.labels
        return {}

    done = measured(work)
    done.result.update(labels=len(np.unique(kept["labels"])))
    report(done)
    np.save(_path("ours"), kept["labels"])


def theirs() -> None:
    """MONAI's sliding window over 117 logits, then the bundle's post transform."""
    from monai.apps.vista3d.transforms import VistaPostTransformd
    from monai.inferers import sliding_window_inference

    model, image = the_model(), the_image()
    embeddings = model.class_embeddings(CLASSES)
    kept: dict[str, Any] = {}

    def predict(window: torch.Tensor) -> torch.Tensor:
        features = model.automatic_features(window)
        return (embeddings @ features.flatten(2)[0]).view(1, len(CLASSES), *window.shape[-3:])

    def work() -> dict[str, Any]:
        with torch.inference_mode():
            logits = sliding_window_inference(
                image[None, None], (64, 64, 64), 1, predict, overlap=0.25, mode="constant", padding_mode="replicate"
            )
            data = {"pred": logits[0], "label_prompt": torch.tensor(CLASSES)}
            kept["labels"] = VistaPostTransformd("pred")(data)["pred"][0].numpy().astype(np.uint8)
        return {}

    done = measured(work)
    report(done)
    np.save(_path("theirs"), kept["labels"])


def differing() -> tuple[int, int]:
    """Voxels that differ between the last runs of both sides, and voxels in all."""
    a, b = np.load(_path("ours")), np.load(_path("theirs"))
    return int((a != b).sum()), a.size


def _path(side: str) -> str:
    import tempfile

    return f"{tempfile.gettempdir()}/vista3d_stitching_{side}.npy"


if __name__ == "__main__":
    {"ours": ours, "theirs": theirs}[sys.argv[1]]()
