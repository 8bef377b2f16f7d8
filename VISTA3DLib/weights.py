"""Which weights there are, where they lie, and under which licence. Without torch and without a network.

The official entries are in ``data/weights.json``; files in the models folders join them. Fetching is
:mod:`VISTA3DLib.download`, reading them into a network :mod:`VISTA3DLib.loading`.
"""

from __future__ import annotations

import difflib
import hashlib
import json
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlsplit
from urllib.request import url2pathname

from VISTA3DLib.classes import ClassCatalogue
from VISTA3DLib.errors import CheckpointError
from VISTA3DLib.settings import NetworkSettings, PercentileWindow

ENDINGS = (".safetensors", ".pt", ".pth")
SETTINGS_KEY = "vista3d"  # of the safetensors metadata, as ``checkpoint.save_checkpoint`` writes it
UNTRAINED = "untrained: random weights from seed {seed}; for tests of the machinery only"
ASSUMED_CT = (
    "The file does not say how its network is fed; it is taken as VISTA3D CT. "
    "If it is the CT+MR model, name it as vista3d-ctmr=PATH."
)
_DATA = Path(__file__).parent / "data"
_LARGEST_HEADER = 100_000_000  # bytes; the limit of the format


@dataclass(frozen=True, kw_only=True)
class Licence:
    """Terms of use. ``summary`` is in our own words; ``files`` are the texts in the model's repository."""

    name: str
    url: str = ""
    summary: str = ""
    files: tuple[str, ...] = ()
    must_accept: bool = False

    @property
    def fingerprint(self) -> str:
        """Changes when anything about the licence changes, so that it is shown and asked for again."""
        return hashlib.sha256(json.dumps([self.name, self.url, self.summary]).encode()).hexdigest()[:16]


UNSTATED = Licence(name="not stated", summary="The file does not say under which licence it is; ask whoever made it.")


@dataclass(frozen=True, kw_only=True)
class Origin:
    """A file of a model repository on the Hugging Face Hub, at one commit."""

    repo: str
    revision: str
    filename: str

    @property
    def page(self) -> str:
        """The model card."""
        return f"https://huggingface.co/{self.repo}"


@dataclass(frozen=True, kw_only=True)
class WeightsEntry:
    """One set of weights: fetched from ``origin``, or a file at ``path`` (packaged, in a models folder, anywhere).

    ``size`` in bytes and ``sha256`` are what the file must have, None where nobody published it. ``network`` says how
    ``NetworkSettings`` are made for files that do not hold their own: a class catalogue's id and whatever differs from
    the CT model. ``seed``: random weights stand in until the file is there. ``note`` is for the person, mostly empty.
    """

    id: str
    title: str
    description: str = ""
    licence: Licence = UNSTATED
    origin: Origin | None = None
    path: Path | None = None
    size: int | None = None
    sha256: str | None = None
    automatic: bool = True
    interactive: bool = True
    modality: str = "CT"
    network: Mapping[str, Any] | None = field(default=None, hash=False)
    seed: int | None = None
    demonstration: bool = False
    note: str = ""

    def network_settings(self) -> NetworkSettings | None:
        """The settings that the catalogue prescribes; None when only the file knows."""
        if self.network is None:
            return None
        values: dict[str, Any] = {key: tuple(v) if isinstance(v, list) else v for key, v in self.network.items()}
        values["catalogue"] = ClassCatalogue.load(values["catalogue"])
        if "percentiles" in values:
            low, high = values.pop("percentiles")
            values["intensity"] = PercentileWindow(low=low, high=high)
        return NetworkSettings(automatic=self.automatic, interactive=self.interactive, modality=self.modality, **values)


@dataclass(frozen=True, kw_only=True)
class WeightsCatalogue:
    """The official entries, then the files of the models folders. ``problems``: files there that cannot be listed."""

    entries: tuple[WeightsEntry, ...]
    problems: tuple[str, ...] = ()

    @classmethod
    def load(cls, extra_folders: Sequence[Path] = ()) -> WeightsCatalogue:
        """Read the packaged list, then ``extra_folders``, then ``models_folders()``.

        A file in a folder whose name is an official id (``vista3d-ct.safetensors``) stands for that entry: the way to
        bring the official weights to a machine without a network. The first of two files with one name counts.
        """
        entries = {entry.id: entry for entry in _packaged_entries()}
        official = frozenset(entries)
        problems: list[str] = []
        for folder in [*extra_folders, *models_folders()]:
            for path in _files_in(folder, problems):
                try:
                    found = describe_file(path, official=entries)
                    known = entries.get(found.id)
                    copy = known and known.id in official and known.origin and found.network is not None
                    if known and not copy:
                        owner = known.path or known.title
                        raise CheckpointError(f"{path} has the name of other weights ({owner}).", "Rename the file.")
                    entries[found.id] = found
                except CheckpointError as error:
                    problems.append(str(error))
        return cls(entries=tuple(entries.values()), problems=tuple(problems))

    def __iter__(self) -> Iterator[WeightsEntry]:
        return iter(self.entries)

    def __len__(self) -> int:
        return len(self.entries)

    @property
    def ids(self) -> tuple[str, ...]:
        """The ids, official ones first."""
        return tuple(entry.id for entry in self.entries)

    def __getitem__(self, id: str) -> WeightsEntry:
        """The entry with this id; ``CheckpointError`` with the nearest ids and the whole list for another."""
        for entry in self.entries:
            if entry.id == id:
                return entry
        folded = {name.casefold(): name for name in self.ids}
        near = [folded[name] for name in difflib.get_close_matches(id.casefold(), folded, n=3, cutoff=0.5)]
        meant = f"Did you mean {' or '.join(near)}? " if near else ""
        raise CheckpointError(
            f"There are no weights '{id}'.",
            f"{meant}There are: {', '.join(self.ids)}; or give the path of a .safetensors or .pt file.",
        )


def find_weights(spec: str | Path, extra_folders: Sequence[Path] = ()) -> WeightsEntry:
    """What a person means by an id, a file, a folder that holds one, a ``file:`` address, or ``ID=PATH``.

    ``ID=PATH`` takes the official settings of ID for a file that does not hold its own. Raises ``CheckpointError`` for
    an unknown id (with the nearest ones), a missing file, or a folder in which the weights are not unambiguous.
    """
    if isinstance(spec, Path):
        return describe_file(_one_file(spec))
    text = spec.strip()
    catalogue = WeightsCatalogue.load(extra_folders)
    if text in catalogue.ids:
        return catalogue[text]
    stated, equals, rest = text.partition("=")
    if equals and rest and stated in {entry.id for entry in _packaged_entries()}:
        return _standing_for(catalogue[stated], _one_file(_local_path(rest)))
    if text.lower().startswith("file:") or _looks_like_path(text):
        return describe_file(_one_file(_local_path(text)))
    return catalogue[text]


def describe_file(path: Path, *, official: Mapping[str, WeightsEntry] | None = None) -> WeightsEntry:
    """The entry of a weights file from what its header says; ``CheckpointError`` when the header is damaged.

    A foreign file is taken for an official one when its name or a folder above it says so (``vista3d-ct.safetensors``,
    ``.../NV-Segment-CTMR/...``), otherwise for a VISTA3D CT model, with a ``note``.
    """
    known = official if official is not None else {entry.id: entry for entry in _packaged_entries()}
    stored = _stored_description(path)
    if stored is None:
        named = known.get(path.stem) or _entry_of_copy(path, known)
        if named and named.origin:
            return _standing_for(named, path)
        return WeightsEntry(id=path.stem, title=path.stem, path=path, note=ASSUMED_CT)
    settings, about = stored
    base = known.get(str(about.get("base", "")))
    return WeightsEntry(
        id=path.stem,
        title=str(about.get("title", path.stem)),
        description=str(about.get("description", "")),
        licence=base.licence if base else replace(UNSTATED, name=str(about.get("licence", UNSTATED.name))),
        path=path,
        automatic=bool(settings.get("automatic", True)),
        interactive=bool(settings.get("interactive", True)),
        modality=str(settings.get("modality", "CT")),
    )


def catalogue_of(entry: WeightsEntry) -> ClassCatalogue:
    """The classes of some weights: stored in the file, else prescribed, else those of the CT model."""
    stored = _stored_description(entry.path) if entry.path and _is_file(entry.path) else None
    if stored is not None:
        return ClassCatalogue.from_dict(stored[0].get("catalogue", {}))
    return ClassCatalogue.load((entry.network or {"catalogue": "ct"})["catalogue"])


def official_ids() -> tuple[str, ...]:
    """The ids of the packaged list, which no other weights can have."""
    return tuple(entry.id for entry in _packaged_entries())


def is_foreign(entry: WeightsEntry) -> bool:
    """Whether the file of some weights was not written by this program: only reading it all tells what it holds."""
    return entry.path is not None and _is_file(entry.path) and _stored_description(entry.path) is None


def models_folders() -> tuple[Path, ...]:
    """Where a person's own weights lie: ``VISTA3D_MODELS`` (several as in PATH), else the platform's data folder."""
    named = os.environ.get("VISTA3D_MODELS", "")
    if named.strip():
        return tuple(_expanded(part) for part in named.split(os.pathsep) if part.strip())
    return (_user_folder("XDG_DATA_HOME", ".local/share", "LOCALAPPDATA") / "models",)


def config_folder() -> Path:
    """Where this program remembers a person's choices: ``VISTA3D_CONFIG``, else the platform's settings folder."""
    named = os.environ.get("VISTA3D_CONFIG", "").strip()
    return _expanded(named) if named else _user_folder("XDG_CONFIG_HOME", ".config", "APPDATA")


def read_header(path: Path) -> dict[str, Any]:
    """The header of a safetensors file: tensor names with dtype, shape and place, and ``__metadata__``.

    Raises ``CheckpointError`` when it is no such file or when the file is shorter or longer than its header says.
    """
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if not 2 <= length <= min(_LARGEST_HEADER, size - 8):
                raise ValueError("its header does not fit into it")
            header = json.loads(file.read(length).decode("utf-8"))
        ends = [value["data_offsets"][1] for name, value in header.items() if name != "__metadata__"]
        if (missing := 8 + length + max(ends, default=0) - size) != 0:
            raise ValueError(f"{abs(missing)} bytes are {'missing' if missing > 0 else 'too many'}")
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise CheckpointError(
            f"{path} is truncated or no safetensors file ({error}).", "Download or copy it again."
        ) from error
    return cast(dict[str, Any], header)


def _packaged_entries() -> tuple[WeightsEntry, ...]:
    plain = json.loads((_DATA / "weights.json").read_text(encoding="utf-8"))
    licences = {
        name: Licence(**{**values, "files": tuple(values.get("files", ()))})
        for name, values in plain["licences"].items()
    }
    return tuple(_packaged_entry(dict(values), licences) for values in plain["entries"])


def _packaged_entry(values: dict[str, Any], licences: Mapping[str, Licence]) -> WeightsEntry:
    packaged = values.pop("packaged", None)
    values["licence"] = licences[values["licence"]]
    values["origin"] = Origin(**values["origin"]) if "origin" in values else None
    path = _DATA / packaged if packaged else None
    untrained = path is not None and not path.is_file()
    return WeightsEntry(**values, path=path, note=UNTRAINED.format(seed=values.get("seed")) if untrained else "")


def _standing_for(entry: WeightsEntry, path: Path) -> WeightsEntry:
    """The official entry, read from a person's own copy (in whatever form: its size and hash need not be the same)."""
    return replace(entry, path=path, origin=None, size=None, sha256=None)


def _entry_of_copy(path: Path, known: Mapping[str, WeightsEntry]) -> WeightsEntry | None:
    """The entry of whose repository a folder above is the hub's cache or a clone."""
    folders = set(path.absolute().parts[:-1])
    copied: list[WeightsEntry] = []
    for entry in known.values():
        owner, _, name = entry.origin.repo.partition("/") if entry.origin else ("", "", "")
        if name and folders & {name, f"models--{owner}--{name}"}:
            copied.append(entry)
    same_file = (e for e in copied if e.origin and e.origin.filename.endswith(f"/{path.name}"))
    return next(same_file, copied[0] if copied else None)


def _stored_description(path: Path) -> tuple[Mapping[str, Any], Mapping[str, Any]] | None:
    """Settings and metadata that this program stored inside; None in a foreign file."""
    if path.suffix.lower() != ".safetensors":
        return None
    metadata = read_header(path).get("__metadata__", {})
    if not isinstance(metadata, Mapping) or SETTINGS_KEY not in metadata:
        return None
    try:
        stored = json.loads(metadata[SETTINGS_KEY])
        return dict(stored["settings"]), dict(stored.get("metadata", {}))
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise CheckpointError(
            f"The settings inside {path} cannot be read: {error}.", "Use other weights, or save these again."
        ) from error


def _files_in(folder: Path, problems: list[str]) -> list[Path]:
    """The weights files directly in a folder; one that cannot be listed is told in ``problems``."""
    try:
        inside = sorted(folder.iterdir()) if folder.is_dir() else []
        return [p for p in inside if p.suffix.lower() in ENDINGS and p.is_file() and not p.name.startswith(".")]
    except OSError as error:
        problems.append(f"{folder} cannot be listed: {error.strerror or error}.")
        return []


def _one_file(path: Path) -> Path:
    """The weights file that a path means: itself, or the only one in a folder or its usual subfolders."""
    if _is_file(path):
        return path
    problems: list[str] = []
    for place in (path, path / "vista3d_pretrained_model", path / "models"):
        found = _files_in(place, problems)
        best = [p for p in found if p.suffix.lower() == ".safetensors"] or found
        if len(best) == 1:
            return best[0]
        if best:
            raise CheckpointError(f"{place} holds {len(best)} weights files.", f"Name one: {best[0]}, for example.")
    why = f" ({problems[0]})" if problems else ""
    raise CheckpointError(
        f"There are no weights at {path}{why}.", f"Check the path: it must be a file ({', '.join(ENDINGS)})."
    )


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # a name too long for the file system is the name of no file
        return False


def _local_path(text: str) -> Path:
    if not text.lower().startswith("file:"):
        return _expanded(text)
    address = urlsplit(text)
    if address.netloc not in {"", "localhost"}:
        raise CheckpointError(f"{text} is on the machine '{address.netloc}'.", "Give a path on this machine.")
    return Path(url2pathname(address.path))


def _expanded(text: str) -> Path:
    return Path(os.path.expanduser(text))  # noqa: PTH111 - Path's own raises for a user who does not exist


def _looks_like_path(text: str) -> bool:
    separators = {"/", os.sep, os.altsep or os.sep}
    written_as_path = text.startswith("~") or any(s in text for s in separators) or text.lower().endswith(ENDINGS)
    return written_as_path or os.path.exists(text)  # noqa: PTH110 - Path's own raises for long names


def _user_folder(xdg: str, unix: str, windows: str) -> Path:
    if sys.platform == "win32":
        return Path(os.environ.get(windows) or Path.home()) / "vista3d"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Application Support" / "vista3d"
    return Path(os.environ.get(xdg) or Path.home() / unix) / "vista3d"
