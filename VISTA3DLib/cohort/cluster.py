"""A Ray cluster: joined or started, divided into workers, watched. With ``schedule`` the only place that knows Ray."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Any

from VISTA3DLib.cohort.actors import HandActor, ModelActor
from VISTA3DLib.cohort.segmenter import SegmenterMaker
from VISTA3DLib.cohort.settings import RunOptions
from VISTA3DLib.errors import SettingsError, VISTA3DError

LOST_SECONDS = 15.0  # Ray itself ends this process 60 s after it lost the cluster's head: we must be faster
_WORKER_BYTES = 4 * 2**30  # of memory for a model on the CPU and one volume
_MOST_HANDS = 8


class ClusterError(VISTA3DError):
    """There is no cluster where one was named, or it has no room."""


class ClusterLostError(ClusterError):
    """The cluster went away in the middle."""


@dataclass(frozen=True, kw_only=True)
class Share:
    """How the cluster is divided: ``workers`` times so many GPUs and cores, ``hands`` processes beside each model."""

    workers: int
    gpus: float
    cpus: float
    hands: int
    depth: int

    @classmethod
    def of(cls, resources: dict[str, float], options: RunOptions) -> Share:
        """Divide what the cluster has. Raises ``ClusterError`` if not even one worker finds room."""
        cpus, gpus = resources.get("CPU", 0.0), resources.get("GPU", 0.0)
        per_gpu = (1.0 if gpus else 0.0) if options.gpus_per_worker is None else options.gpus_per_worker
        per_cpu = options.cpus_per_worker
        room = _room(resources, per_gpu, per_cpu)
        workers = options.workers or room
        share = (cpus / workers if workers else 0.0) if per_cpu is None else per_cpu
        share = share if share < 1 else float(int(share))
        if workers < 1 or (per_gpu and per_gpu * workers > gpus + 1e-6) or share * workers > cpus + 1e-6:
            raise ClusterError(
                f"The cluster has {cpus:g} cores and {gpus:g} GPUs: no room for {max(workers, 1)} worker(s) with "
                f"{share:g} cores and {per_gpu:g} GPUs.",
                "Ask for fewer workers or less for each.",
            )
        hands = options.hands or (max(1, min(_MOST_HANDS, int(share) - 1)) if per_gpu else 1)
        return cls(workers=workers, gpus=per_gpu, cpus=share, hands=hands, depth=options.depth or hands + 2)

    @property
    def device(self) -> str:
        """The device of each model."""
        return "cuda" if self.gpus else "cpu"

    @property
    def threads(self) -> int:
        """Threads of each model on the CPU."""
        return max(1, int(self.cpus))


@dataclass(frozen=True, kw_only=True, eq=False)
class Worker:
    """One model and its hands, all on one node."""

    number: int
    model: Any
    hands: tuple[Any, ...]
    group: Any


class Cluster:
    """Use as a context: joins ``options.ray``, or starts a cluster here and stops it at the end."""

    def __init__(self, options: RunOptions) -> None:
        self._options = options
        self._ours = False
        self._address = ""
        self._groups: list[Any] = []
        self._silent_since: float | None = None
        self.dashboard = ""

    def __enter__(self) -> Cluster:
        import ray

        if not ray.is_initialized():
            context = self._joined() if self._options.ray else self._started()
            self.dashboard = getattr(context, "dashboard_url", "") or ""
            self._ours = True
        self._address = ray.get_runtime_context().gcs_address
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.leave()

    def leave(self) -> None:
        """Give back what was reserved; stop the cluster if it was started here."""
        import ray

        if self._ours:
            ray.shutdown()
            self._ours = False
        elif ray.is_initialized():
            for group in self._groups:
                ray.util.remove_placement_group(group)
        self._groups = []

    def share(self) -> Share:
        """How it is divided. Raises ``ClusterError``."""
        import ray

        return Share.of(ray.cluster_resources(), self._options)

    def start_worker(self, number: int, share: Share, make: SegmenterMaker) -> Worker:
        """Start a worker; it is usable when its model answers, and waits for room if there is none yet."""
        import ray
        from ray.util.placement_group import placement_group
        from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

        bundle = {name: amount for name, amount in (("CPU", share.cpus), ("GPU", share.gpus)) if amount}
        group = placement_group([bundle])
        self._groups.append(group)
        # All on one node, so that voxels go through its shared memory and not over the network.
        strategy = PlacementGroupSchedulingStrategy(group, placement_group_bundle_index=0)
        common = {"num_cpus": 0, "max_restarts": -1, "max_task_retries": 0, "scheduling_strategy": strategy}
        hand = ray.remote(HandActor).options(**common)
        model = ray.remote(ModelActor).options(num_gpus=share.gpus, **common)
        hands = tuple(hand.remote() for _ in range(share.hands))
        return Worker(number=number, model=model.remote(make), hands=hands, group=group)

    def stop_worker(self, worker: Worker) -> None:
        """Give back what a worker reserved; its processes end."""
        import ray

        self._groups.remove(worker.group)
        ray.util.remove_placement_group(worker.group)

    def check(self, clock: Callable[[], float] = time.monotonic) -> None:
        """Raise ``ClusterLostError`` when the head has not answered for some seconds, or no node is alive.

        To be called often: Ray itself never says so, it ends this process after a minute.
        """
        import ray

        host, _, port = self._address.rpartition(":")
        try:
            with socket.create_connection((host.strip("[]"), int(port)), timeout=2.0):
                self._silent_since = None
        except OSError as error:
            self._silent_since = self._silent_since or clock()
            if clock() - self._silent_since >= LOST_SECONDS:
                raise self._lost("does not answer any more") from error
            return
        if not any(node["Alive"] for node in ray.nodes()):
            raise self._lost("has no node left")

    def _lost(self, what: str) -> ClusterLostError:
        return ClusterLostError(
            f"The Ray cluster at {self._address} {what}.",
            "Start it again, then run the same command with --resume.",
        )

    def _joined(self) -> Any:
        import ray

        address = str(self._options.ray)
        try:
            # Ray itself asks for minutes.
            host, colon, port = address.removeprefix("ray://").rpartition(":")
            if colon and port.isdecimal():
                socket.create_connection((host.strip("[]"), int(port)), timeout=10.0).close()
            return ray.init(address=address, log_to_driver=False, logging_level="ERROR")
        except (ConnectionError, ValueError, RuntimeError, OSError) as error:
            first_line = str(error).splitlines()[0] if str(error) else repr(error)
            raise ClusterError(
                f"There is no Ray cluster at {address}: {first_line}",
                "Start one with 'ray start --head', or leave --ray out.",
            ) from error

    def _started(self) -> Any:
        import ray

        if self._options.dashboard:
            try:
                import ray.dashboard.optional_deps
            except ModuleNotFoundError as error:
                raise ClusterError(
                    f"Ray's dashboard cannot start: {error}.", "pip install 'ray[default]', or leave --dashboard out."
                ) from error
        return ray.init(
            include_dashboard=self._options.dashboard,
            object_store_memory=self._options.object_store_bytes,
            num_cpus=None if self._options.workers is None else max(self._options.workers, _cores()),
            log_to_driver=False,
            logging_level="ERROR",
        )


def _room(resources: dict[str, float], per_gpu: float, per_cpu: float | None) -> int:
    if per_gpu:
        return int(resources.get("GPU", 0.0) / per_gpu + 1e-6)
    cpus = resources.get("CPU", 0.0)
    if per_cpu:
        return int(cpus / per_cpu + 1e-6)
    # Two cores for each, and not more models than fit into memory.
    return max(1, min(int(cpus / 2), int(resources.get("memory", 0.0) / _WORKER_BYTES)))


def _cores() -> int:
    import os

    return os.cpu_count() or 1


def check_installed() -> None:
    """Raise ``SettingsError`` if what cohorts need is not installed."""
    try:
        import pyarrow  # noqa: F401
        import ray  # noqa: F401
    except ModuleNotFoundError as error:
        raise SettingsError(
            f"{error}.", "Install what cohorts need: pip install 'vista3d-slicer[engine,cohort]'"
        ) from error
