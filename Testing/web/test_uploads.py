"""Files between the page and the viewer, over a real aiohttp server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web
from browsing import run_alone, until
from hypothesis import given
from hypothesis import strategies as st
from yarl import URL

from VISTA3DLib.errors import OutputError, ReadError
from VISTA3DWeb.uploads import Exchange, _inside

BATCH = "abcdef0123456789"


def exchange(
    folder: Path, visit: Callable[[aiohttp.ClientSession, str, Exchange], Awaitable[None]], limit: int = 10_000
) -> None:
    async def run() -> None:
        subject = Exchange(folder, limit)
        app = web.Application()
        app.add_routes(subject.routes)
        runner = web.AppRunner(app)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        try:
            async with aiohttp.ClientSession() as session:
                await visit(session, f"http://127.0.0.1:{runner.addresses[0][1]}", subject)
        finally:
            await runner.cleanup()

    run_alone(run())


async def put(session: aiohttp.ClientSession, base: str, name: str, data: bytes) -> tuple[int, dict[str, str]]:
    async with session.put(URL(f"{base}/upload/{BATCH}/{name}", encoded=True), data=data) as answer:
        return answer.status, await answer.json()


def test_files_of_a_folder_keep_their_places_and_are_handed_on_together(tmp_path: Path) -> None:
    async def visit(session: aiohttp.ClientSession, base: str, subject: Exchange) -> None:
        for name in ("study/1/a.dcm", "study/1/b.dcm", "study/2/a%20b.dcm"):
            assert (await put(session, base, name, name.encode()))[0] == 200
        files, folder = subject.take(BATCH)
        assert [str(p.relative_to(folder)) for p in files] == ["study/1/a.dcm", "study/1/b.dcm", "study/2/a b.dcm"]
        assert files[0].read_bytes() == b"study/1/a.dcm"
        with pytest.raises(ReadError, match="Nothing was uploaded"):
            subject.take(BATCH)

    exchange(tmp_path, visit)


def test_what_is_too_large_is_refused_with_the_limit_and_leaves_nothing(tmp_path: Path) -> None:
    async def visit(session: aiohttp.ClientSession, base: str, subject: Exchange) -> None:
        assert (await put(session, base, "a.bin", bytes(6000)))[0] == 200
        status, answer = await put(session, base, "b.bin", bytes(6000))  # together they are too large
        assert status == 422
        assert "limit" in answer["message"]
        assert "--upload-limit" in answer["fix"]
        assert not list(tmp_path.iterdir())
        with pytest.raises(ReadError):
            subject.take(BATCH)

    exchange(tmp_path, visit)


def test_a_stream_that_does_not_say_how_long_it_is_is_cut_at_the_limit(tmp_path: Path) -> None:
    async def endless() -> object:
        for _ in range(40):
            yield bytes(1000)

    async def visit(session: aiohttp.ClientSession, base: str, _: Exchange) -> None:
        async with session.put(f"{base}/upload/{BATCH}/a.bin", data=endless()) as answer:
            assert answer.status == 422
        assert not list(tmp_path.iterdir())

    exchange(tmp_path, visit)


@pytest.mark.parametrize(
    "name", ["..%2Fout.txt", "a/..%2F..%2Fout.txt", "%2e%2e/out", "a%5C..%5Cout", "c%3A%5Cout", "a%00b"]
)
def test_a_name_that_leads_out_of_the_folder_is_refused(tmp_path: Path, name: str) -> None:
    async def visit(session: aiohttp.ClientSession, base: str, _: Exchange) -> None:
        async with session.put(URL(f"{base}/upload/{BATCH}/{name}", encoded=True), data=b"x") as answer:
            assert answer.status in {404, 405, 422}

    exchange(tmp_path / "session", visit)
    assert [p for p in tmp_path.rglob("*") if p.is_file()] == []


@given(st.text(min_size=1, max_size=60))
def test_whatever_a_file_is_called_it_stays_inside(name: str) -> None:
    folder = Path("/session/in")
    try:
        path = _inside(folder, name)
    except ReadError:
        return
    assert path.is_relative_to(folder)
    assert ".." not in path.parts
    assert path != folder


def test_a_full_disk_is_a_message_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import errno

    def full(self: Path, *_: object, **__: object) -> object:
        raise OSError(errno.ENOSPC, "No space left on device")

    async def visit(session: aiohttp.ClientSession, base: str, _: Exchange) -> None:
        monkeypatch.setattr(Path, "open", full)
        status, answer = await put(session, base, "a.bin", b"x")
        monkeypatch.undo()
        assert status == 422
        assert "the disk is full" in answer["message"]
        assert str(tmp_path) in answer["fix"]
        assert not list(tmp_path.iterdir())

    exchange(tmp_path, visit)


def test_an_offered_file_can_be_fetched_until_the_next_one_is_offered(tmp_path: Path) -> None:
    async def visit(session: aiohttp.ClientSession, base: str, subject: Exchange) -> None:
        with subject.outgoing() as folder:
            first = folder / "my seg.seg.nrrd"
            first.write_bytes(b"NRRD0004")
        address = subject.offer(first)
        async with session.get(f"{base}/{address}") as answer:
            assert await answer.read() == b"NRRD0004"
            assert "attachment" in answer.headers["Content-Disposition"]
            assert answer.headers["Cache-Control"] == "no-store"
        with subject.outgoing() as folder:
            second = folder / "b.nii.gz"
            second.write_bytes(b"x")
        subject.offer(second)
        assert not first.exists()
        async with session.get(f"{base}/{address}") as answer:
            assert answer.status == 404

    exchange(tmp_path, visit)


def test_an_upload_that_was_given_up_is_removed(tmp_path: Path) -> None:
    async def visit(session: aiohttp.ClientSession, base: str, _: Exchange) -> None:
        await put(session, base, "a.bin", b"x")
        async with session.delete(f"{base}/upload/{BATCH}") as answer:
            assert answer.status == 200
        assert not list(tmp_path.iterdir())

    exchange(tmp_path, visit)


def test_a_file_that_cannot_be_written_leaves_nothing(tmp_path: Path) -> None:
    subject = Exchange(tmp_path, 1)

    def half_written() -> None:
        with subject.outgoing() as folder:
            (folder / "half of it").write_bytes(b"x")
            raise OutputError("The disk is full.", "Free some space.")

    with pytest.raises(OutputError, match="full"):
        half_written()
    assert not list(tmp_path.iterdir())


def test_an_upload_whose_page_goes_away_in_the_middle_is_removed(tmp_path: Path) -> None:
    async def visit(session: aiohttp.ClientSession, base: str, subject: Exchange) -> None:
        sent, gone = asyncio.Event(), asyncio.Event()

        async def half() -> AsyncIterator[bytes]:
            yield bytes(1000)
            sent.set()
            await gone.wait()

        uploading = asyncio.ensure_future(session.put(f"{base}/upload/{BATCH}/a.bin", data=half()))
        await sent.wait()
        await until(lambda: any(path.is_file() for path in tmp_path.rglob("*")))
        uploading.cancel()
        await until(lambda: not list(tmp_path.iterdir()))
        with pytest.raises(ReadError):
            subject.take(BATCH)

    exchange(tmp_path, visit)


def test_what_a_tab_had_uploaded_goes_with_it_and_what_others_did_stays(tmp_path: Path) -> None:
    async def visit(session: aiohttp.ClientSession, base: str, subject: Exchange) -> None:
        await put(session, base, "a.bin", b"x")
        subject.forget("another")
        assert list(tmp_path.iterdir())
        subject.forget(BATCH[:12])
        assert not list(tmp_path.iterdir())

    exchange(tmp_path, visit)
