"""Reading and writing weights: every published form of a VISTA3D checkpoint, strictly (spec 1.7, 1.8).

Never a silently random layer: each tensor of the network must come from the file with its exact shape, and each
tensor of the file must have a place (two families of the research code are known to be dead and are dropped).
"""

from __future__ import annotations

import json
import pickle
import re
import stat
import struct
import zipfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from monai.networks.nets.vista3d import VISTA3D
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from VISTA3DLib.errors import CheckpointError, SettingsError, VISTA3DError
from VISTA3DLib.files.atomic import written_atomically
from VISTA3DLib.network import build_network
from VISTA3DLib.settings import NetworkSettings
from VISTA3DLib.weights import SETTINGS_KEY

_WRAPPERS = ("model", "state_dict", "model_state_dict", "network", "net")
_DEEPEST_WRAPPER = 4  # a pickle may hold itself; nobody wraps more often
# DDP, the Hugging Face wrapper, Lightning, torch.compile.
_PREFIXES = ("module.", "network.", "model.", "_orig_mod.")
# Of the research code (MONAI 1.3); they take part in no output.
_DEAD_PREFIXES = ("weight_mapper.", "point_head.output_add_hypernetworks_mlps.")
_RENAMED = re.compile(r"(point_head\.transformer\.layers\.\d+\.mlp\.)lin([12])\.")
_SHOWN = 5  # offending tensors that a message names
# What damaged files make torch's readers raise (found by flipping bytes); none of it is a fault of this program.
_UNREADABLE = (
    pickle.UnpicklingError,
    zipfile.BadZipFile,
    struct.error,
    RuntimeError,
    OSError,
    EOFError,
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
    AssertionError,
    OverflowError,
)


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """Tensors under MONAI's current names, the settings stored beside them (None in foreign files), and the rest."""

    tensors: Mapping[str, torch.Tensor]
    settings: NetworkSettings | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)


def read_checkpoint(path: Path) -> Checkpoint:
    """Read ``.safetensors``, or ``.pt``/``.pth`` with ``weights_only=True``; raises ``CheckpointError``.

    The content decides the format, not the ending: the files of a hub's cache have none.
    """
    if _is_safetensors(path):
        tensors, text = _read_safetensors(path)
    else:
        tensors, text = _read_pickle(path), {}
    settings, metadata = _read_metadata(text, path)
    return Checkpoint(tensors=canonical_names(tensors, origin=str(path)), settings=settings, metadata=metadata)


def load_network(
    path: Path, settings: NetworkSettings | None = None, *, default: NetworkSettings | None = None
) -> tuple[VISTA3D, NetworkSettings]:
    """Build the network that a file describes and fill it, strictly.

    ``settings`` overrides what the file says of itself, ``default`` is used when it says nothing; without either, a
    foreign file is taken as a VISTA3D CT model whose size is read from its tensors. Raises ``CheckpointError`` naming
    the first tensors that do not fit.
    """
    checkpoint = read_checkpoint(path)
    chosen = settings or checkpoint.settings or default or infer_settings(checkpoint.tensors, path)
    # Without memory and values of its own, so that nothing random can remain and the weights are held once.
    with torch.device("meta"):
        network = build_network(chosen)
    fill_network(network, checkpoint.tensors, origin=str(path))
    return network, chosen


def fill_network(network: VISTA3D, tensors: Mapping[str, torch.Tensor], *, origin: str) -> None:
    """Copy ``tensors`` into ``network``; every name and shape must match and every value be finite.

    A network on the ``meta`` device takes over the tensors themselves. Nothing is changed when something is wrong.
    """
    expected = network.state_dict()
    missing = [k for k in expected if k not in tensors]
    unexpected = [k for k in tensors if k not in expected]
    if missing or unexpected:
        raise CheckpointError(
            f"{origin} does not fit this network: {_named('missing', missing)}; {_named('unknown', unexpected)}.",
            "Use weights of a VISTA3D network, or give the settings that they were trained with.",
        )
    misshapen = [k for k, v in expected.items() if tuple(tensors[k].shape) != tuple(v.shape)]
    if misshapen:
        details = [f"{k} {tuple(tensors[k].shape)} instead of {tuple(expected[k].shape)}" for k in misshapen]
        raise CheckpointError(
            f"{origin} was made for a network of another size: {_named('differing', details)}.",
            "Give the settings that the weights were trained with.",
        )
    odd = [f"{k} as {tensors[k].dtype}" for k in expected if not _is_plain(tensors[k])]
    if odd:
        raise CheckpointError(
            f"{origin} holds no plain floating-point numbers: {_named('unusable', odd)}.",
            "Use weights that were not quantised (fp32, fp16 or bf16).",
        )
    broken = [k for k in expected if not bool(torch.isfinite(tensors[k]).all())]
    if broken:
        raise CheckpointError(
            f"{origin} holds values that are not finite: {_named('broken', broken)}.", "Download or train it again."
        )
    adopt = any(v.is_meta for v in expected.values())
    network.load_state_dict({k: tensors[k].float() for k in expected}, strict=True, assign=adopt)


def canonical_names(tensors: Mapping[str, torch.Tensor], *, origin: str = "The file") -> dict[str, torch.Tensor]:
    """Strip wrappers' prefixes, rename research names (MONAI 1.3) to current ones, drop the known dead tensors."""
    renamed: dict[str, torch.Tensor] = {}
    for name, value in tensors.items():
        plain = _RENAMED.sub(r"\1linear\2.", _without_prefixes(name))
        if plain in renamed:
            raise CheckpointError(
                f"{origin} holds two tensors for {plain}; one of them is {name}.", "Use one model per file."
            )
        renamed[plain] = value
    return {name: value for name, value in renamed.items() if not name.startswith(_DEAD_PREFIXES)}


def infer_settings(tensors: Mapping[str, torch.Tensor], path: Path) -> NetworkSettings:
    """The settings of a foreign VISTA3D CT checkpoint, its size read from the tensors."""
    stem = tensors.get("image_encoder.encoder.conv_init.weight")
    table = tensors.get("class_head.class_embeddings.weight")
    blocks: dict[int, int] = {}
    for name in tensors:
        found = re.match(r"image_encoder\.encoder\.layers\.(\d{1,2})\.blocks\.(\d{1,2})\.", name)
        if found:
            level, block = int(found[1]), int(found[2])
            blocks[level] = max(blocks.get(level, 0), block + 1)
    complete = bool(blocks) and sorted(blocks) == list(range(len(blocks)))
    if stem is None or table is None or not complete or not stem.ndim or not table.ndim:
        raise CheckpointError(
            f"{path} is no VISTA3D checkpoint: the names of its first tensors are {_listed(tensors)}.",
            "Choose a file with VISTA3D weights (.pt or .safetensors).",
        )
    try:
        return NetworkSettings(
            filters=int(stem.shape[0]),
            blocks_down=tuple(blocks[level] for level in sorted(blocks)),
            class_table=int(table.shape[0]),
        )
    except SettingsError as error:
        raise CheckpointError(
            f"{path} is of no size that this program can run: {error.message}", "Choose another file."
        ) from error


def save_checkpoint(
    path: Path,
    network: VISTA3D,
    settings: NetworkSettings,
    *,
    metadata: Mapping[str, Any] | None = None,
    dtype: torch.dtype = torch.float32,
) -> None:
    """Write weights as ``.safetensors`` with their settings and ``metadata`` (JSON values) inside.

    The file appears complete or not at all; raises ``OutputError`` when it cannot be written.
    """
    tensors = {k: v.detach().to("cpu", dtype).contiguous() for k, v in network.state_dict().items()}
    text = json.dumps({"settings": settings.to_dict(), "metadata": dict(metadata or {})})
    with written_atomically(path) as temporary:
        temporary.touch()  # with the rights that new files have here: safetensors writes for the owner alone
        rights = stat.S_IMODE(temporary.stat().st_mode)
        try:
            save_file(tensors, temporary, metadata={"format": "pt", SETTINGS_KEY: text})
        except SafetensorError as error:  # its own wrapping of the file system's errors
            raise OSError(str(error)) from error
        temporary.chmod(rights)


def _is_safetensors(path: Path) -> bool:
    """Look at the first bytes; what is sometimes found in the place of weights gets its own message."""
    if not path.is_file():
        raise CheckpointError(f"There are no weights at {path}.", "Check the path, or download them again.")
    try:
        with path.open("rb") as file:
            head = file.read(256)
    except OSError as error:
        raise CheckpointError(
            f"{path} cannot be read: {error.strerror or error}.", "Check who may read the file."
        ) from error
    if not head:
        raise CheckpointError(f"{path} is empty.", "Download or copy it again.")
    if head.startswith(b"version https://git-lfs"):
        raise CheckpointError(
            f"{path} is the placeholder that git leaves for a large file, not the weights.",
            "Run 'git lfs pull' in its folder, or download the weights.",
        )
    if head.lstrip().lower().startswith((b"<!doctype", b"<html", b"<?xml")):
        raise CheckpointError(
            f"{path} is a web page, not weights.", "Download the file itself: a login page may have come instead."
        )
    return head[8:9] == b"{" or (path.suffix.lower() == ".safetensors" and not head.startswith(b"PK"))


def _read_safetensors(path: Path) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {k: _owned(file.get_tensor(k)) for k in file.keys()}  # noqa: SIM118
            return tensors, file.metadata() or {}
    except (SafetensorError, OSError, ValueError) as error:
        raise CheckpointError(
            f"{path} is truncated or no safetensors file ({error}).", "Download or copy it again."
        ) from error


def _reason(error: BaseException) -> str:
    """The part of PyTorch's long advice that says what is wrong."""
    wrong = re.search(r"WeightsUnpickler error:\s*(.+?)(?:\. |\.?$)", str(error), flags=re.MULTILINE)
    if wrong:
        return wrong[1]
    return str(error).splitlines()[0] if str(error) else type(error).__name__


def _read_pickle(path: Path) -> dict[str, torch.Tensor]:
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except _UNREADABLE as error:
        raise CheckpointError(
            f"{path} is truncated or holds more than tensors ({_reason(error)}).",
            "Download or copy it again; files that need code to be loaded are refused.",
        ) from error
    for _ in range(_DEEPEST_WRAPPER):
        inner = [content[w] for w in _WRAPPERS if isinstance(content, Mapping) and isinstance(content.get(w), Mapping)]
        content = inner[0] if inner else content
    if not isinstance(content, Mapping):
        raise CheckpointError(f"{path} holds a {type(content).__name__}, no weights.", "Choose another file.")
    tensors = {str(k): _owned(v) for k, v in content.items() if isinstance(v, torch.Tensor)}
    if not tensors:
        raise CheckpointError(
            f"{path} holds no tensors; its entries are {_listed(content)}.", "Choose a file with VISTA3D weights."
        )
    return tensors


def _owned(tensor: torch.Tensor) -> torch.Tensor:
    """In float32 where it is a plain floating-point tensor, and with memory of its own.

    Some versions of safetensors hand out views of the mapped file, which must not change or shrink behind a network.
    """
    if not _is_plain(tensor):
        return tensor
    tensor = tensor.float()
    return tensor.clone() if tensor.untyped_storage().nbytes() != tensor.nbytes else tensor


def _is_plain(tensor: torch.Tensor) -> bool:
    usable = tensor.layout is torch.strided and not tensor.is_meta and not tensor.is_quantized
    return usable and tensor.is_floating_point()


def _read_metadata(text: Mapping[str, str], path: Path) -> tuple[NetworkSettings | None, dict[str, Any]]:
    if SETTINGS_KEY not in text:
        return None, {}
    try:
        stored = json.loads(text[SETTINGS_KEY])
        return NetworkSettings.from_dict(stored["settings"]), dict(stored.get("metadata", {}))
    except (ValueError, LookupError, TypeError, AttributeError, VISTA3DError) as error:
        raise CheckpointError(
            f"The settings inside {path} cannot be read: {error}", "Use other weights, or save these again."
        ) from error


def _without_prefixes(name: str) -> str:
    while found := next((p for p in _PREFIXES if name.startswith(p)), None):
        name = name.removeprefix(found)
    return name


def _listed(names: Iterable[object]) -> str:
    return ", ".join([str(name) for name in names][:_SHOWN]) or "none"


def _named(word: str, names: list[str]) -> str:
    if not names:
        return f"none {word}"
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return f"{len(names)} {word} ({', '.join(names[:_SHOWN])}{more})"
