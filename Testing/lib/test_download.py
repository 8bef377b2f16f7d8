"""Fetching weights, against a server on the loopback address that behaves well or badly."""

from __future__ import annotations

import contextlib
import errno
import random
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
from hub_server import REVISION, HubServer, disk_of_one_mebibyte, forget_the_person, fresh_session, serving

from VISTA3DLib.consents import is_accepted
from VISTA3DLib.download import cached_path, download, expected_sha256, is_downloaded, licence_text
from VISTA3DLib.errors import CancelledError, DownloadError, LicenceError
from VISTA3DLib.progress import Cancel, Progress
from VISTA3DLib.transfer import Source
from VISTA3DLib.weights import Licence, Origin, WeightsEntry

FILE = "vista3d_pretrained_model/model.safetensors"
NAME = f"somebody/tiny/{FILE}"
CONTENT = random.Random(0).randbytes(3 * 2**20)
FREE = Licence(name="Free", url="https://example.org/free", summary="Do what you like.")
BOUND = replace(FREE, name="Bound", summary="Research only.", files=("README.md", "LICENSE"), must_accept=True)
ORIGIN = Origin(repo="somebody/tiny", revision=REVISION, filename=FILE)
ENTRY = WeightsEntry(id="tiny", title="Tiny weights", licence=FREE, origin=ORIGIN, size=len(CONTENT))
UNTOUCHED = dict(vars(huggingface_hub.constants))  # as another user of the hub's library in this process wants it


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No setting of the person who runs the tests takes part."""
    forget_the_person(monkeypatch, tmp_path)


@pytest.fixture
def hub() -> Iterator[HubServer]:
    texts = {"somebody/tiny/README.md": b"# Tiny\nThe card says: research.", "somebody/tiny/LICENSE": b"Terms."}
    with serving(HubServer(revision=REVISION, files={NAME: CONTENT, **texts})) as server:
        yield server


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


def get(hub: HubServer, cache: Path, entry: WeightsEntry = ENTRY, **more: Any) -> Path:
    return download(entry, **{"accept_licence": True, "cache_dir": cache, "endpoint": hub.url, **more})


def left_over(cache: Path) -> list[str]:
    """Files of the cache that hold weights, whole or in part."""
    return [str(p.relative_to(cache)) for p in cache.rglob("*") if p.is_file() and p.stat().st_size >= 10_000]


def refused(hub: HubServer, cache: Path, entry: WeightsEntry = ENTRY, **more: Any) -> DownloadError:
    """The error of a download that must fail and leave nothing behind."""
    with pytest.raises(DownloadError) as caught:
        get(hub, cache, entry, **more)
    assert left_over(cache) == []
    assert not is_downloaded(entry, cache)
    assert caught.value.fix
    return caught.value


@pytest.mark.parametrize("cdn", [False, True], ids=["direct", "redirected"])
def test_a_download_is_complete_and_lies_in_the_hub_s_cache(hub: HubServer, cache: Path, cdn: bool) -> None:
    hub.cdn = cdn
    path = get(hub, cache)
    assert path.read_bytes() == CONTENT
    assert path == cached_path(ENTRY, cache)
    assert f"models--somebody--tiny/snapshots/{REVISION}/{FILE}" in path.as_posix()
    assert expected_sha256(ENTRY, path) == hub.sha256(NAME)


def test_a_second_download_makes_no_request(hub: HubServer, cache: Path) -> None:
    path = get(hub, cache)
    hub.seen.clear()
    assert get(hub, cache) == path
    assert get(hub, cache, endpoint="http://127.0.0.1:9") == path
    assert hub.seen == []


def test_the_newer_transfer_is_not_used_even_when_offered(hub: HubServer, cache: Path) -> None:
    hub.xet = True
    assert get(hub, cache).read_bytes() == CONTENT
    assert not [path for path in hub.fetched() if "xet" in path]
    assert vars(huggingface_hub.constants) == UNTOUCHED


@pytest.mark.parametrize(("named", "given"), [("{}/", None), ("http://127.0.0.1:9", "{}")])
def test_the_endpoint_is_the_argument_then_the_environment(
    hub: HubServer, cache: Path, monkeypatch: pytest.MonkeyPatch, named: str, given: str | None
) -> None:
    monkeypatch.setenv("HF_ENDPOINT", named.format(hub.url))
    assert get(hub, cache, endpoint=given and given.format(hub.url)).read_bytes() == CONTENT


@pytest.mark.parametrize("address", ["hf-mirror.com", "ftp://x", "https://?", "https://a b", "file:///etc"])
def test_an_endpoint_that_is_no_web_address_is_named(hub: HubServer, cache: Path, address: str) -> None:
    assert address in refused(hub, cache, endpoint=address).message


def test_a_token_is_sent(hub: HubServer, cache: Path) -> None:
    get(hub, cache, token="hf_secret")
    assert {request.headers.get("authorization") for request in hub.seen} == {"Bearer hf_secret"}


class TestLicence:
    entry = replace(ENTRY, licence=BOUND)

    def test_without_acceptance_no_request_is_made(self, hub: HubServer, cache: Path) -> None:
        with pytest.raises(LicenceError, match=r"Research only.*https://example\.org/free.*--accept-license"):
            get(hub, cache, self.entry, accept_licence=False)
        assert hub.seen == []
        assert not cache.exists()

    def test_acceptance_is_remembered(self, hub: HubServer, cache: Path) -> None:
        get(hub, cache, self.entry)
        shutil.rmtree(cache)
        assert get(hub, cache, self.entry, accept_licence=False).is_file()

    def test_a_changed_licence_asks_again(self, hub: HubServer, cache: Path) -> None:
        get(hub, cache, self.entry)
        changed = replace(self.entry, licence=replace(BOUND, summary="Not even research."))
        with pytest.raises(LicenceError):
            get(hub, cache, changed, accept_licence=False)

    def test_a_place_that_cannot_remember_does_not_stop_the_download(
        self, hub: HubServer, cache: Path, tmp_path: Path
    ) -> None:
        (tmp_path / "config").write_text("in the way of a folder")
        notes: list[str] = []
        assert get(hub, cache, self.entry, progress=lambda p: notes.append(p.note)).is_file()
        assert any("could not be remembered" in note for note in notes)
        assert not is_accepted(self.entry)

    def test_the_text_to_show_has_the_repository_s_own_words(self, hub: HubServer, cache: Path) -> None:
        text = licence_text(self.entry, cache_dir=cache, endpoint=hub.url)
        assert all(part in text for part in ("Bound", "Research only.", FREE.url, "The card says", "Terms."))
        assert NAME not in " ".join(hub.fetched())

    def test_the_text_to_show_exists_without_a_network(self, cache: Path) -> None:
        text = licence_text(self.entry, cache_dir=cache, endpoint="http://127.0.0.1:9")
        assert "Research only." in text
        assert "README.md could not be fetched" in text
        assert "https://huggingface.co/somebody/tiny" in text


class TestProgress:
    def test_bytes_and_speed_are_reported_in_the_caller_s_thread(self, hub: HubServer, cache: Path) -> None:
        hub.pause = 0.01
        reports: list[Progress] = []
        threads: set[int] = set()

        def note(progress: Progress) -> None:
            reports.append(progress)
            threads.add(threading.get_ident())

        get(hub, cache, progress=note)
        coming = [r for r in reports if r.stage == "download"]
        assert [r.done for r in coming] == sorted(r.done for r in coming)
        assert any(0 < r.done < r.total for r in coming)
        assert {r.total for r in coming} == {len(CONTENT)}
        assert any(r.note.endswith("MB/s") and r.seconds_left is not None for r in coming)
        assert reports[-1].stage == "verify"
        assert reports[-1].fraction == 1.0
        assert threads == {threading.get_ident()}

    def test_cancel_in_the_middle_is_prompt_and_leaves_nothing_to_use(self, hub: HubServer, cache: Path) -> None:
        hub.pause = 0.05  # 2.4 s in all
        cancel = Cancel()
        asked: list[float] = []

        def stop_half_way(progress: Progress) -> None:
            if progress.done > len(CONTENT) // 4 and not asked:
                asked.append(time.monotonic())
                cancel.cancel()

        with pytest.raises(CancelledError):
            get(hub, cache, progress=stop_half_way, cancel=cancel)
        assert time.monotonic() - asked[0] < 2.0
        assert not is_downloaded(ENTRY, cache)
        assert [p for p in left_over(cache) if not p.endswith(".incomplete")] == []
        hub.pause = 0.0
        assert get(hub, cache).read_bytes() == CONTENT

    def test_cancel_is_prompt_when_the_connection_stalls(self, hub: HubServer, cache: Path) -> None:
        hub.stall = True
        cancel = Cancel()
        timer = threading.Timer(0.5, cancel.cancel)
        timer.start()
        start = time.monotonic()
        with pytest.raises(CancelledError):
            get(hub, cache, cancel=cancel)
        assert time.monotonic() - start < 4.0
        assert not is_downloaded(ENTRY, cache)

    def test_cancel_before_the_start_makes_no_request(self, hub: HubServer, cache: Path) -> None:
        cancel = Cancel()
        cancel.cancel()
        with pytest.raises(CancelledError):
            get(hub, cache, cancel=cancel)
        assert hub.seen == []

    def test_a_callback_that_fails_stops_the_transfer(self, hub: HubServer, cache: Path) -> None:
        hub.pause = 0.05

        def fail(progress: Progress) -> None:
            if progress.done:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            get(hub, cache, progress=fail)
        assert not is_downloaded(ENTRY, cache)


class TestTransfersThatGoWrong:
    def persistently(self, hub: HubServer, cache: Path) -> Path:
        """Older versions of the hub's library give up when the server does; calling again must help."""
        for _ in range(2):
            with contextlib.suppress(DownloadError):
                return get(hub, cache)
            assert not is_downloaded(ENTRY, cache)
        return get(hub, cache)

    def test_an_interrupted_transfer_goes_on_or_fails_cleanly(self, hub: HubServer, cache: Path) -> None:
        hub.cut_after = len(CONTENT) // 2
        assert self.persistently(hub, cache).read_bytes() == CONTENT
        ranges = [r.headers.get("Range") or r.headers.get("range") for r in hub.seen if r.method == "GET"]
        assert f"bytes={len(CONTENT) // 2}-" in ranges

    def test_an_interruption_at_a_server_without_ranges_gives_the_right_bytes(
        self, hub: HubServer, cache: Path
    ) -> None:
        hub.cut_after, hub.ignore_range = len(CONTENT) // 2, True
        assert self.persistently(hub, cache).read_bytes() == CONTENT

    @pytest.mark.parametrize("known", [True, False], ids=["published hash", "announced hash"])
    def test_corrupted_bytes_are_removed(self, hub: HubServer, cache: Path, known: bool) -> None:
        hub.corrupt = True
        entry = replace(ENTRY, sha256=hub.sha256(NAME) if known else None)
        assert hub.sha256(NAME) in refused(hub, cache, entry).message
        hub.corrupt = False
        assert get(hub, cache, entry).read_bytes() == CONTENT

    def test_another_file_than_the_published_hash_is_refused_before_the_transfer(
        self, hub: HubServer, cache: Path
    ) -> None:
        assert "other weights" in refused(hub, cache, replace(ENTRY, sha256="a" * 64)).message
        assert hub.fetched() == []

    def test_a_wrong_size_is_refused_before_the_transfer(self, hub: HubServer, cache: Path) -> None:
        hub.announced_size = len(CONTENT) - 7
        assert f"{len(CONTENT) - 7} bytes instead of {len(CONTENT)}" in refused(hub, cache).message
        assert hub.fetched() == []

    def test_damage_in_the_cache_is_found_and_mended(self, hub: HubServer, cache: Path) -> None:
        path = get(hub, cache)
        damaged = bytearray(CONTENT)
        damaged[1234] ^= 1
        path.write_bytes(damaged)
        assert get(hub, cache).read_bytes() == CONTENT

    def test_a_truncated_file_in_the_cache_does_not_count(self, hub: HubServer, cache: Path) -> None:
        path = get(hub, cache)
        path.write_bytes(CONTENT[:1000])
        assert not is_downloaded(ENTRY, cache)
        assert get(hub, cache).read_bytes() == CONTENT


class TestServersThatRefuse:
    def test_a_file_that_is_not_there(self, hub: HubServer, cache: Path) -> None:
        del hub.files[NAME]
        error = refused(hub, cache)
        assert "has no vista3d_pretrained_model/model.safetensors" in error.message
        assert "HF_ENDPOINT" in error.fix

    @pytest.mark.parametrize("code", ["", "GatedRepo"])
    @pytest.mark.parametrize("status", [401, 403])
    def test_a_repository_that_asks_for_permission(self, hub: HubServer, cache: Path, status: int, code: str) -> None:
        hub.status, hub.error_code = status, code
        error = refused(hub, cache)
        assert "refuses access to somebody/tiny" in error.message
        assert "https://huggingface.co/somebody/tiny" in error.fix
        assert "HF_TOKEN" in error.fix

    @pytest.mark.parametrize("status", [429, 500, 503])
    def test_a_busy_server(self, hub: HubServer, cache: Path, status: int) -> None:
        hub.status = status
        error = refused(hub, cache)
        assert f"status {status}" in error.message
        assert "Try again" in error.fix

    @pytest.mark.parametrize("late", [False, True], ids=["at once", "once the file is asked for"])
    def test_a_captive_portal(self, hub: HubServer, cache: Path, late: bool) -> None:
        hub.portal, hub.portal_on_get = not late, late
        error = refused(hub, cache)
        assert late or "no model hub" in error.message
        assert late or "log-in" in error.fix

    def test_a_mirror_with_another_commit(self, hub: HubServer, cache: Path) -> None:
        hub.announced_commit = "f" * 40
        assert f"offers commit {'f' * 40} of somebody/tiny instead of {REVISION}" in refused(hub, cache).message
        assert hub.fetched() == []

    def test_no_network(self, hub: HubServer, cache: Path) -> None:
        error = refused(hub, cache, endpoint="http://127.0.0.1:9")
        assert "127.0.0.1:9 could not be reached" in error.message
        assert "path" in error.fix

    def test_a_name_that_does_not_resolve(self, hub: HubServer, cache: Path) -> None:
        assert "hub.invalid could not be reached" in refused(hub, cache, endpoint="http://hub.invalid").message

    def test_a_person_who_forbids_the_network(
        self, hub: HubServer, cache: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
        fresh_session()
        assert "HF_HUB_OFFLINE forbids" in refused(hub, cache).message
        assert hub.seen == []

    @pytest.mark.parametrize(
        ("error", "fix"),
        [
            (OSError("[SSL: CERTIFICATE_VERIFY_FAILED] self-signed certificate in chain"), "SSL_CERT_FILE"),
            (PermissionError(errno.EACCES, "Permission denied", "/cache"), "HF_HOME"),
            (OSError(errno.ENOSPC, "No space left on device"), "Free some space"),
            (TimeoutError("timed out"), "Check the network"),
            (OSError(), "Check the network"),
        ],
    )
    def test_errors_without_a_server_of_their_own(self, cache: Path, error: OSError, fix: str) -> None:
        assert fix in Source.of(ORIGIN, cache).explained(error).fix

    def test_a_proxy_that_refuses(self, hub: HubServer, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
        monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
        fresh_session()
        error = refused(hub, cache)
        assert "HTTPS_PROXY" in error.fix
        assert hub.seen == []
        monkeypatch.undo()
        fresh_session()


class TestDisks:
    @pytest.fixture
    def small_disk(self, tmp_path: Path) -> Iterator[Path]:
        """A file system of 1 MiB, where mounting is allowed."""
        with disk_of_one_mebibyte(tmp_path / "disk") as place:
            yield place

    def test_a_disk_that_is_too_small_is_found_before_the_transfer(self, hub: HubServer, small_disk: Path) -> None:
        error = refused(hub, small_disk)
        assert "3.1 MB are needed" in error.message
        assert "HF_HOME" in error.fix
        assert hub.fetched() == []

    def test_a_disk_that_fills_up_on_the_way_leaves_nothing(
        self, hub: HubServer, small_disk: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        roomy = shutil.disk_usage("/")._replace(free=10**12)
        monkeypatch.setattr(shutil, "disk_usage", lambda _: roomy)
        with pytest.raises(DownloadError, match="is full"):
            get(hub, small_disk)
        assert not is_downloaded(ENTRY, small_disk)


def test_a_cache_whose_place_is_a_file_is_explained(hub: HubServer, tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("in the way")
    with pytest.raises(DownloadError):
        get(hub, tmp_path / "cache")


def test_packaged_weights_need_no_download(hub: HubServer, tmp_path: Path) -> None:
    own = tmp_path / "own.pt"
    own.write_bytes(b"x")
    assert get(hub, tmp_path, replace(ENTRY, origin=None, path=own)) == own
    with pytest.raises(DownloadError, match="no download"):
        get(hub, tmp_path, replace(ENTRY, origin=None, path=tmp_path / "gone.pt"))
    assert hub.seen == []


def test_the_module_needs_neither_torch_nor_the_hub_to_be_imported() -> None:
    code = "import sys, VISTA3DLib.download as d; print([m for m in ('torch', 'huggingface_hub') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
