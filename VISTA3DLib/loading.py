"""From the name of some weights to a model that runs. Never downloads."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from monai.networks.nets.vista3d import VISTA3D

from VISTA3DLib.checkpoint import load_network
from VISTA3DLib.devices import Runtime, choose_runtime
from VISTA3DLib.download import cached_path, expected_sha256, sha256_of
from VISTA3DLib.errors import CheckpointError
from VISTA3DLib.model import Model
from VISTA3DLib.network import seeded_network
from VISTA3DLib.settings import NetworkSettings
from VISTA3DLib.weights import WeightsEntry, find_weights


class LoadedModel(Model):
    """A model that knows its ``entry`` in the catalogue; ``note`` is for the person (untrained weights, a guess)."""

    def __init__(
        self, network: VISTA3D, settings: NetworkSettings, runtime: Runtime, *, entry: WeightsEntry, note: str = ""
    ) -> None:
        super().__init__(network, settings, runtime, id=entry.id)
        self.entry = entry
        self.note = note


@dataclass(frozen=True, kw_only=True)
class VerifyReport:
    """What was found in a file: bytes and SHA-256, what they must be (None: nobody said), and whether its tensors fit.

    ``problem`` says what is wrong, empty when nothing is.
    """

    path: Path
    size: int
    sha256: str
    expected_size: int | None
    expected_sha256: str | None
    tensors_fit: bool
    problem: str = ""

    @property
    def ok(self) -> bool:
        """Whether the file can be used and is what it should be, as far as anybody said what that is."""
        return not self.problem


def load_model(
    spec: WeightsEntry | str | Path = "vista3d-mini",
    *,
    runtime: Runtime | None = None,
    device: str = "auto",
    precision: str = "auto",
    compile: bool = False,
    cache_dir: Path | None = None,
) -> LoadedModel:
    """The model of an entry, an id, a file, a folder, a ``file:`` address or ``ID=PATH`` (``weights.find_weights``).

    ``runtime``, else ``device``, ``precision`` and ``compile``, say where it runs; ``cache_dir`` is the hub's cache,
    None its usual place. Raises ``CheckpointError`` (with the command that downloads what is missing) or
    ``DeviceError``.
    """
    entry = _entry_of(spec)
    network, settings = load_weights(entry, cache_dir=cache_dir)
    return LoadedModel(
        network, settings, runtime or choose_runtime(device, precision, compile=compile), entry=entry, note=entry.note
    )


def load_weights(spec: WeightsEntry | str | Path, *, cache_dir: Path | None = None) -> tuple[VISTA3D, NetworkSettings]:
    """The network and its settings, on the CPU; for training, which changes them. Raises ``CheckpointError``.

    Unlike ``checkpoint.load_network`` it knows the settings of official weights, whose files do not hold any.
    """
    entry = _entry_of(spec)
    prescribed = entry.network_settings()
    missing = entry.path is not None and not entry.path.is_file()
    if missing and entry.seed is not None and prescribed is not None:
        return seeded_network(prescribed, entry.seed), prescribed
    return load_network(weights_path(entry, cache_dir=cache_dir), default=prescribed)


def weights_path(spec: WeightsEntry | str | Path, *, cache_dir: Path | None = None) -> Path:
    """The file of some weights on this machine; ``CheckpointError`` with the command to run when it is not there."""
    entry = _entry_of(spec)
    path = cached_path(entry, cache_dir)
    if path is not None:
        return path
    if entry.origin is None:
        raise CheckpointError(f"There are no weights at {entry.path}.", "Check the path, or restore the file.")
    raise CheckpointError(
        f"The weights {entry.id} are not on this machine.",
        f"Run: vista3d weights download {entry.id} --accept-license",
    )


def verify(spec: WeightsEntry | str | Path, *, cache_dir: Path | None = None) -> VerifyReport:
    """Read the whole file, twice: its size, its SHA-256, and whether every tensor fits.

    Raises ``CheckpointError`` when there is no file.
    """
    entry = _entry_of(spec)
    path = weights_path(replace(entry, size=None), cache_dir=cache_dir)  # a wrong size is reported, not hidden
    size, sha256, expected = path.stat().st_size, _sha256_of(path), expected_sha256(entry, path)
    problems: list[str] = []
    if entry.size is not None and size != entry.size:
        problems.append(f"{path} has {size} bytes instead of {entry.size}.")
    if expected is not None and sha256 != expected:
        problems.append(f"The SHA-256 of {path} is {sha256} instead of {expected}.")
    fits = True
    try:
        load_network(path, default=entry.network_settings())
    except CheckpointError as error:
        fits = False
        problems.append(error.message)
    return VerifyReport(
        path=path,
        size=size,
        sha256=sha256,
        expected_size=entry.size,
        expected_sha256=expected,
        tensors_fit=fits,
        problem=" ".join(problems),
    )


def _entry_of(spec: WeightsEntry | str | Path) -> WeightsEntry:
    return spec if isinstance(spec, WeightsEntry) else find_weights(spec)


def _sha256_of(path: Path) -> str:
    try:
        return sha256_of(path)
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error}.", "Check the file and the disk.") from error
