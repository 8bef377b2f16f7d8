"""Which licences of weights a person has accepted. Without torch and without a network."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime, timezone
from typing import Any

from VISTA3DLib.files.atomic import written_atomically
from VISTA3DLib.weights import WeightsEntry, config_folder

_CONSENTS = "licences.json"  # in the config folder


def is_accepted(entry: WeightsEntry) -> bool:
    """Whether the licence needs no acceptance, or was accepted in its present form."""
    accepted = _consents().get(entry.id)
    known = isinstance(accepted, Mapping) and accepted.get("fingerprint") == entry.licence.fingerprint
    return not entry.licence.must_accept or known


def accept(entry: WeightsEntry) -> None:
    """Remember, with the date, that the licence was accepted. Raises ``OutputError`` when that cannot be written."""
    record = {
        "licence": entry.licence.name,
        "url": entry.licence.url,
        "fingerprint": entry.licence.fingerprint,
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
    }
    text = json.dumps({"format": 1, "accepted": {**_consents(), entry.id: record}}, indent=2)
    with written_atomically(config_folder() / _CONSENTS) as temporary:
        temporary.write_text(text, encoding="utf-8")


def _consents() -> dict[str, Any]:
    """What was accepted before; a file that cannot be read counts as nothing, so that the person is asked again."""
    try:
        accepted = json.loads((config_folder() / _CONSENTS).read_text(encoding="utf-8"))["accepted"]
    except (OSError, ValueError, LookupError, TypeError):
        return {}
    return dict(accepted) if isinstance(accepted, Mapping) else {}
