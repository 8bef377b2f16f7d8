"""What the tests of cohorts share: a Ray cluster of two workers, small real CTs, a segmenter that needs no network."""

from __future__ import annotations

import os
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import nibabel
import numpy as np
import pyarrow.parquet as pq
import pytest
import ray
from odd_volumes import blobs
from s3_server import running_s3_server

from VISTA3DLib.classes import ClassCatalogue
from VISTA3DLib.cohort.run import CohortRequest
from VISTA3DLib.cohort.segmenter import ModelDescription, Segmented
from VISTA3DLib.cohort.settings import CohortSettings, RunOptions
from VISTA3DLib.cohort.tables import RUN_COLUMNS
from VISTA3DLib.results import ClassesResult
from VISTA3DLib.volume import Volume, inspect_volume

# Workers cannot import the test modules: what the tests define travels as code.
ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])

DATA = Path(__file__).resolve().parents[3] / "shared" / "data" / "ct"
REAL = ("sts_001", "tpt_vertebra_l3", "ts_upperabd_slab", "kbp_002")
TWO, ONE = RunOptions(workers=2, cpus_per_worker=1), RunOptions(workers=1, cpus_per_worker=1)
OBJECT_STORE = 200 * 2**20
# A fake: thresholds instead of a network, with real masks of plausible tissue. Ids: lung, muscle, bone.
LUNG, MUSCLE, BONE = 28, 104, 127


@dataclass
class ThresholdSegmenter:
    """Labels by Hounsfield units. ``seconds`` of sleep per scan; ``deadly`` names a scan that kills the process.

    ``once`` is a file: the scan kills only as long as it is not there.
    """

    seconds: float = 0.0
    deadly: str = ""
    once: str = ""
    hash: str = "5" * 64

    def describe(self) -> ModelDescription:
        """A model that is none."""
        return ModelDescription(id="thresholds", hash=self.hash, device="cpu", catalogue=ClassCatalogue.load("ct"))

    def segment(self, volume: Volume) -> tuple[Segmented, ClassesResult]:
        """Three labels."""
        if self.deadly and volume.name == self.deadly and not (self.once and Path(self.once).exists()):
            if self.once:
                Path(self.once).touch()
            os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(self.seconds)
        labels = np.zeros(volume.grid.shape, dtype=np.uint8)
        hounsfield = volume.finite
        labels[(hounsfield > -950) & (hounsfield < -500)] = LUNG
        labels[(hounsfield > 20) & (hounsfield < 90)] = MUSCLE
        labels[hounsfield > 250] = BONE
        about = Segmented(
            device="cpu", findings=tuple(f.message for f in inspect_volume(volume)), seconds={"network": 0.01}
        )
        return about, ClassesResult(
            grid=volume.grid, class_ids=(LUNG, MUSCLE, BONE), model="thresholds", labelmap=labels
        )


def thresholds(**values: Any) -> Callable[[], ThresholdSegmenter]:
    """What makes such a segmenter in a worker."""
    return lambda: ThresholdSegmenter(**values)


@pytest.fixture(scope="session")
def s3_server() -> Iterator[str]:
    """An S3-compatible server on this machine, known to this process and to the cluster's by its environment."""
    with running_s3_server() as server:
        yield server.address


@pytest.fixture(scope="session")
def cluster(s3_server: str) -> Iterator[str]:
    """The address of a Ray cluster with two slots on this machine; this process is connected to it."""
    patch = pytest.MonkeyPatch()
    patch.setenv("OMP_NUM_THREADS", "1")
    patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    patch.setenv("AWS_ACCESS_KEY_ID", "nobody")
    patch.setenv("AWS_SECRET_ACCESS_KEY", "nothing")
    patch.setenv("AWS_ENDPOINT_URL", s3_server)
    patch.setenv("RAY_worker_niceness", "0")  # else Ray's processes wait for every other one on a busy machine
    ray.init(num_cpus=2, object_store_memory=OBJECT_STORE, include_dashboard=False, log_to_driver=False)
    yield str(ray.get_runtime_context().gcs_address)
    ray.shutdown()
    patch.undo()


@pytest.fixture
def small_cts(tmp_path: Path) -> Path:
    """A folder with six small CTs in odd names and formats."""
    folder = tmp_path / "scans"
    folder.mkdir()
    for number in range(6):
        write_ct(folder / f"ct {number}.nii.gz", seed=number)
    return folder


@pytest.fixture(scope="session")
def real_cts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with four real CTs of different regions, spacings and orientations."""
    if not DATA.is_dir():
        pytest.skip("no real CTs beside the project")
    folder = tmp_path_factory.mktemp("real")
    for name in REAL:
        shutil.copyfile(DATA / name / "ct.nii.gz", folder / f"{name}.nii.gz")
    return folder


def write_ct(path: Path, *, seed: int = 0, shape: tuple[int, int, int] = (23, 19, 17)) -> None:
    """A small CT with an oblique-free but flipped and anisotropic geometry."""
    affine = np.diag([-1.93, -2.17, 4.13, 1.0])
    affine[:3, 3] = [13.7, -121.3, 402.9]
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(blobs(shape, seed=seed), affine), path)


def request_of(source: Path | str, output: Path | str, **values: Any) -> CohortRequest:
    """A request for one worker (its processes start sooner) without pictures, unless told otherwise."""
    settings = values.pop("settings", CohortSettings(picture=False))
    return CohortRequest(
        source=str(source), output=str(output), settings=settings, options=values.pop("options", ONE), **values
    )


Table = dict[str, dict[str, Any]]


def scans_of(output: Path) -> Table:
    """The table of scans by id."""
    return {row["scan"]: row for row in pq.read_table(output / "scans.parquet").to_pylist()}


def final_tables(output: Path) -> tuple[list[dict[str, Any]], list[dict[str, Any]], list[str]]:
    """Everything about a finished cohort that may not depend on how it came about: both tables, the files."""
    scans = [
        {key: value for key, value in row.items() if key not in RUN_COLUMNS}
        for row in pq.read_table(output / "scans.parquet").to_pylist()
    ]
    structures = pq.read_table(output / "structures.parquet").to_pylist()
    files = sorted(path.relative_to(output).as_posix() for path in (output / "scans").rglob("*") if path.is_file())
    return scans, structures, files


@pytest.fixture
def tools() -> SimpleNamespace:
    """The functions above, for test modules, which cannot import this one."""
    return SimpleNamespace(
        one=ONE,
        two=TWO,
        thresholds=thresholds,
        write_ct=write_ct,
        request_of=request_of,
        scans_of=scans_of,
        final_tables=final_tables,
    )
