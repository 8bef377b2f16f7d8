"""Files that appear complete or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from test_files_maker import small_disk

from VISTA3DLib.errors import OutputError
from VISTA3DLib.files.atomic import all_written_atomically, written_atomically


@pytest.fixture
def as_nobody(tmp_path: Path) -> Iterator[None]:
    """Root may write everywhere: be somebody else for a while."""
    if os.name != "posix":
        pytest.skip("needs POSIX permissions")
    if os.geteuid() != 0:
        yield
        return
    for folder in [tmp_path, *tmp_path.parents]:
        if folder.owner() == "root" and folder.is_relative_to("/tmp/"):
            folder.chmod(folder.stat().st_mode | 0o011)
    os.seteuid(65534)
    yield
    os.seteuid(0)


def test_a_file_appears_with_its_folders(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "c.txt"
    with written_atomically(path) as temporary:
        temporary.write_text("done")
        assert not path.exists()
    assert path.read_text() == "done"
    assert [item.name for item in path.parent.iterdir()] == ["c.txt"]


@pytest.mark.parametrize("error", [OSError("unplugged"), RuntimeError("library"), KeyboardInterrupt()])
def test_nothing_is_left_when_writing_fails(tmp_path: Path, error: BaseException) -> None:
    path = tmp_path / "c.txt"
    path.write_text("old")

    def write() -> None:
        with written_atomically(path) as temporary:
            temporary.write_text("half")
            raise error

    with pytest.raises(OutputError if isinstance(error, OSError) else type(error)):
        write()
    assert path.read_text() == "old"
    assert [item.name for item in tmp_path.iterdir()] == ["c.txt"]


def test_files_that_belong_together_change_together(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    for path in (one, two):
        path.write_text("old")
    with pytest.raises(OutputError), all_written_atomically(one, two) as (a, b):
        a.write_text("new")  # the second is forgotten
    assert (one.read_text(), two.read_text()) == ("old", "old")
    with all_written_atomically(one, two) as (a, b):
        a.write_text("new 1")
        b.write_text("new 2")
    assert (one.read_text(), two.read_text()) == ("new 1", "new 2")


def test_a_folder_in_the_way_is_noticed_before_writing(tmp_path: Path) -> None:
    (tmp_path / "two").mkdir()
    with (
        pytest.raises(OutputError, match="Is a directory") as caught,
        all_written_atomically(tmp_path / "one", tmp_path / "two"),
    ):
        pytest.fail("nothing is to be written")
    assert "name" in caught.value.fix
    assert [item.name for item in tmp_path.iterdir()] == ["two"]


def test_a_file_in_place_of_a_folder(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot be written"), written_atomically(tmp_path / "file" / "c.txt"):
        pytest.fail("nothing is to be written")


def test_a_full_disk(tmp_path: Path) -> None:
    message = r"No space left on device \(0\.\d MB are free\)"
    with small_disk(tmp_path / "disk", "64k") as place:
        path = place / "c.bin"
        path.write_bytes(b"old")
        with pytest.raises(OutputError, match=message) as caught, written_atomically(path) as temporary:
            temporary.write_bytes(b"x" * 200_000)
        assert path.read_bytes() == b"old"
        assert [item.name for item in place.iterdir()] == ["c.bin"]
    assert "Free some space" in caught.value.fix


def test_a_folder_that_may_not_be_written(tmp_path: Path, as_nobody: None) -> None:
    with pytest.raises(OutputError, match="Permission denied") as caught, written_atomically(Path("/usr/c.txt")):
        pytest.fail("nothing is to be written")
    assert "may write" in caught.value.fix


def test_a_name_that_is_too_long(tmp_path: Path) -> None:
    with (
        pytest.raises(OutputError, match="too long") as caught,
        written_atomically(tmp_path / ("x" * 300)) as temporary,
    ):
        temporary.write_text("")
    assert "another file name" in caught.value.fix
    assert not list(tmp_path.iterdir())
    name = "y" * 250  # allowed by itself
    with written_atomically(tmp_path / name) as temporary:
        temporary.write_text("")
    assert (tmp_path / name).exists()
