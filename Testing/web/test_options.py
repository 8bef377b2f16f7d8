"""Options of the viewer: what is refused before anything starts, and when a token is needed."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from VISTA3DLib.errors import CheckpointError, ReadError, SettingsError
from VISTA3DWeb.options import ViewerOptions, is_loopback


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.9.1", "localhost", "::1", "[::1]"])
def test_on_loopback_no_token_is_needed(host: str) -> None:
    options = ViewerOptions(host=host)
    assert not options.needs_token
    assert options.token == ""


@pytest.mark.parametrize("host", ["0.0.0.0", "192.168.1.4", "::", "gpu.example.org", "localhost.example.org", ""])
def test_any_other_address_gets_a_token_that_nobody_can_guess(host: str) -> None:
    first, second = ViewerOptions(host=host), ViewerOptions(host=host)
    assert first.needs_token
    assert len(first.token) >= 30
    assert first.token != second.token


def test_behind_a_proxy_a_token_is_needed_on_loopback_too() -> None:
    options = ViewerOptions(origins=("https://GPU.example.org/",))
    assert options.needs_token
    assert options.origins == ("https://gpu.example.org",)


@given(st.ip_addresses(v=4))
def test_only_127_is_loopback_among_ipv4(address: object) -> None:
    assert is_loopback(str(address)) == str(address).startswith("127.")


@pytest.mark.parametrize("origin", ["gpu.example.org", "ftp://x", "https://", "https://a/?q=1", "javascript:alert(1)"])
def test_what_is_no_origin_is_refused_with_an_example(origin: str) -> None:
    with pytest.raises(SettingsError, match="is no origin") as caught:
        ViewerOptions(origins=(origin,))
    assert "https://" in caught.value.fix


def test_contradictions_and_missing_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="either"):
        ViewerOptions(path=tmp_path, sample="torso")
    with pytest.raises(SettingsError, match="no sample 'knee'"):
        ViewerOptions(sample="knee")
    with pytest.raises(ReadError, match="does not exist"):
        ViewerOptions(path=tmp_path / "ct.nii.gz")
    with pytest.raises(SettingsError, match="no port"):
        ViewerOptions(port=70000)
    with pytest.raises(CheckpointError, match="nope"):
        ViewerOptions(weights="nope")
