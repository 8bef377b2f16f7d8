"""Once with the published architecture of 218 million parameters (random weights): parity with MONAI's inference.

Windows are 64 voxels instead of 128 so that it takes a minute on two cores; the network is fully convolutional but for
the position codes, which follow the window. Tolerances as in the parity tests of the small network.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from odd_volumes import blobs

from benchmarks.reference import reference_clicks, reference_logits
from VISTA3DLib.automatic import blended_features
from VISTA3DLib.classes import ClassCatalogue
from VISTA3DLib.devices import Runtime
from VISTA3DLib.geometry import Grid
from VISTA3DLib.labelling import ClassTable, LabelReader
from VISTA3DLib.model import Model
from VISTA3DLib.network import seeded_network
from VISTA3DLib.points import ClickEngine, ClickSet
from VISTA3DLib.preprocess import PreparedVolume
from VISTA3DLib.progress import Tracker
from VISTA3DLib.settings import NetworkSettings, find_mode

pytestmark = pytest.mark.slow
EVERYTHING = ClassCatalogue.load().sets["everything"]


@pytest.fixture(scope="module")
def the_network() -> Model:
    settings = NetworkSettings(window=(64, 64, 64))
    return Model(seeded_network(settings, 0), settings, Runtime(device=torch.device("cpu")))


@pytest.fixture(scope="module")
def an_image() -> torch.Tensor:
    return torch.from_numpy(blobs((64, 70, 64), seed=3).astype(np.float32) / 2000 + 0.4).clamp(0, 1)


def test_everything_gives_the_references_labels(the_network: Model, an_image: torch.Tensor) -> None:
    logits = reference_logits(the_network, an_image[None], EVERYTHING, "bundle")
    best, winner = logits.max(dim=0)
    theirs = torch.where(best > 0, torch.tensor(EVERYTHING)[winner], 0).numpy()
    table = ClassTable(the_network.class_embeddings(EVERYTHING), EVERYTHING)
    reader = LabelReader(table, (64, 70, 64))
    mode, tracker = find_mode("bundle"), Tracker("windows", 2)
    for slab in blended_features(the_network, an_image, mode, tracker, ring_dtype=torch.float32):
        reader.read(slab)
    top = torch.cat([torch.zeros_like(logits[:1]), logits]).topk(2, dim=0).values
    close = ((top[0] - top[1]) < 1e-5 * float(top.max())).numpy()
    assert len(np.unique(theirs)) > 5
    assert close.mean() < 0.01
    assert np.array_equal(reader.labels[~close], theirs[~close])


def test_a_click_gives_the_references_logits(the_network: Model, an_image: torch.Tensor) -> None:
    click = [[30.0, 36.0, 31.0]]
    theirs = reference_clicks(the_network, an_image, click, [1])
    grid = Grid(shape=(64, 70, 64), affine=np.diag([1.5, 1.5, 1.5, 1.0]))
    prepared = PreparedVolume(volume_grid=grid, grid=grid, image=an_image, crop=grid.box)
    engine = ClickEngine(the_network, prepared, shared_windows=False)
    clicks = ClickSet(index=np.array(click), positive=(True,), labels=(1,))
    (patch,) = engine.logits(clicks, Tracker("windows", 1))
    known = theirs[patch.box.slices]
    assert not bool(torch.isnan(known).any())
    assert float((patch.logits - known).abs().max()) < 1e-5 * float(known.abs().max())
