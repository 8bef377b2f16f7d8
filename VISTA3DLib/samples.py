"""The built-in CT for a person who has none at hand: what ``--sample`` names."""

from __future__ import annotations

from pathlib import Path

from VISTA3DLib.errors import SettingsError
from VISTA3DLib.volume import Volume

SAMPLES = ("torso",)


def check_source(ct: Path | None, sample: str | None, *, example: str, needed: bool) -> None:
    """Check what a command is to work on: a CT or a sample, never both; ``needed``: one of them.

    Raises ``SettingsError`` with ``example`` as the way out.
    """
    if (ct is not None and sample is not None) or (needed and ct is None and sample is None):
        raise SettingsError("Give either a CT or --sample.", f"For example: {example}")
    if sample is not None and sample not in SAMPLES:
        raise SettingsError(f"There is no sample '{sample}'.", f"Use --sample {SAMPLES[0]}.")


def sample_volume() -> Volume:
    """The made-up CT of a torso."""
    from VISTA3DLib.phantom import make_phantom

    phantom = make_phantom()
    return Volume(array=phantom.array, affine=phantom.affine, name="Phantom, torso")
