"""Which weights answer for which case: the same for all, or those of the case's fold (cross-validation)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from VISTA3DLib.devices import Runtime, choose_runtime
from VISTA3DLib.download import sha256_of
from VISTA3DLib.errors import CheckpointError, SettingsError
from VISTA3DLib.loading import LoadedModel, load_model, weights_path
from VISTA3DLib.weights import WeightsEntry, find_weights

FOLD = "{fold}"


@dataclass(frozen=True, kw_only=True)
class UsedModel:
    """What to say about some weights: ``sha256`` is of their file (empty when they are made from a seed)."""

    id: str
    title: str
    sha256: str
    spacing: tuple[float, ...] | None
    window: tuple[int, ...]
    device: str
    precision: str
    fold: int | None = None
    note: str = ""
    demonstration: bool = False


class FoldModels:
    """Loads weights by fold, one at a time. ``weights``: an id or a path, with ``{fold}`` where the number belongs.

    >>> FoldModels("runs/fold{fold}/model.safetensors").by_fold
    True
    """

    def __init__(self, weights: str | Path, *, device: str = "auto", precision: str = "auto") -> None:
        self._weights = str(weights)
        self._device, self._precision = device, precision
        self._entries: dict[int | None, WeightsEntry] = {}
        self._digests: dict[int | None, str] = {}
        self._used: dict[int | None, UsedModel] = {}
        self._loaded: tuple[int | None, LoadedModel] | None = None
        self._runtime: Runtime | None = None

    @property
    def by_fold(self) -> bool:
        """Whether each fold has weights of its own."""
        return FOLD in self._weights

    @property
    def runtime(self) -> Runtime:
        """Where the weights run and in which precision. Raises ``DeviceError``."""
        self._runtime = self._runtime or choose_runtime(self._device, self._precision)
        return self._runtime

    def check(self, fold: int | None) -> None:
        """Raise ``SettingsError`` for a case without the fold it needs, ``CheckpointError`` for missing weights."""
        self.digest(fold)

    def digest(self, fold: int | None) -> str:
        """What tells the weights of a fold from others: the SHA-256 of their file, or their seed."""
        key = self.key(fold)
        if key not in self._digests:
            entry = self._entry(key)
            if entry.path is not None and not entry.path.is_file() and entry.seed is not None:
                self._digests[key] = f"seed {entry.seed}"
            else:
                self._digests[key] = _sha256(weights_path(entry))
        return self._digests[key]

    def model(self, fold: int | None) -> LoadedModel:
        """The model for a case of this fold; the one before is let go. Raises as ``check``, or ``DeviceError``."""
        key = self.key(fold)
        if self._loaded is None or self._loaded[0] != key:
            self._loaded = None
            model = load_model(self._entry(key), runtime=self.runtime)
            self._loaded = (key, model)
        return self._loaded[1]

    def describe(self, fold: int | None) -> UsedModel:
        """The weights of a fold, for a report."""
        key = self.key(fold)
        if key not in self._used:
            model = self.model(fold)
            digest = self.digest(fold)
            self._used[key] = UsedModel(
                id=model.id,
                title=model.entry.title,
                sha256="" if digest.startswith("seed") else digest,
                spacing=model.settings.spacing,
                window=model.settings.window,
                device=str(model.device),
                precision=model.runtime.precision,
                fold=key,
                note=model.note,
                demonstration=model.entry.demonstration,
            )
        return self._used[key]

    def key(self, fold: int | None) -> int | None:
        """The fold whose weights answer for a case of this fold; None when all folds share them."""
        if not self.by_fold:
            return None
        if fold is None:
            raise SettingsError(
                "The case has no fold, so there are no weights for it.", f"Give it a fold, or weights without {FOLD}."
            )
        return fold

    def _entry(self, key: int | None) -> WeightsEntry:
        if key not in self._entries:
            self._entries[key] = find_weights(self._weights.replace(FOLD, str(key)))
        return self._entries[key]


def _sha256(path: Path) -> str:
    try:
        return sha256_of(path)
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error}.", "Check the file and the disk.") from error
