"""What the library's tests share: odd grids, small volumes, a small network of the family with random weights."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest
import torch
from hypothesis import settings
from odd_volumes import ODD_AFFINES, blobs, odd_affine, odd_shape

from VISTA3DLib.devices import Runtime
from VISTA3DLib.model import Model
from VISTA3DLib.network import seeded_network
from VISTA3DLib.settings import NetworkSettings
from VISTA3DLib.volume import Volume

# Several test processes share the cores; threads that wait for each other on a busy core are slower than one.
if os.environ.get("PYTEST_XDIST_WORKER") or os.environ.get("OMP_NUM_THREADS") == "1":
    torch.set_num_threads(1)

# No timed assertions: a busy machine must not fail a property.
settings.register_profile("house", deadline=None)
settings.load_profile("house")


@pytest.fixture(params=list(ODD_AFFINES))
def an_odd_volume(request: pytest.FixtureRequest) -> Volume:
    """A small CT-like volume, in turn in every odd geometry."""
    name = str(request.param)
    return Volume(array=blobs(odd_shape(name)), affine=odd_affine(name), name=name)


@pytest.fixture
def a_volume() -> Volume:
    """A small CT-like volume in DICOM's usual orientation."""
    return Volume(array=blobs(odd_shape("lps")), affine=odd_affine("lps"), name="lps")


@pytest.fixture(scope="session")
def tiny_settings() -> NetworkSettings:
    """A member of the family that runs in milliseconds: two levels, 16 voxels, 3 mm."""
    return NetworkSettings(filters=8, blocks_down=(1, 1), window=(16, 16, 16), spacing=(3.0, 3.0, 3.0))


@pytest.fixture(scope="session")
def make_model(tiny_settings: NetworkSettings) -> Callable[..., Model]:
    """Builds a small model with random weights from a seed."""

    def make(seed: int = 0, settings: NetworkSettings = tiny_settings) -> Model:
        network = seeded_network(settings, seed)
        return Model(network, settings, Runtime(device=torch.device("cpu")), id=f"tiny-{seed}")

    return make


@pytest.fixture(scope="session")
def a_model(make_model: Callable[..., Model]) -> Model:
    """The small model with seed 0."""
    return make_model(0)
