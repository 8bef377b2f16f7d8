"""What the extension ships, and that the three descriptions of it agree."""

from __future__ import annotations

import json
import re
import shutil
import struct
import subprocess
import sys
from pathlib import Path

import pytest

if sys.version_info >= (3, 11):
    import tomllib
else:
    tomllib = pytest.importorskip("tomllib")

ROOT = Path(__file__).resolve().parents[2]
MODULE = ROOT / "VISTA3D"
LIBRARY = ROOT / "VISTA3DLib"


@pytest.fixture(scope="module")
def configured(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The build folder of the extension, configured against a stand-in of Slicer's build system."""
    if shutil.which("cmake") is None:
        pytest.skip("cmake is not installed")
    build = tmp_path_factory.mktemp("build")
    slicer = ROOT / "Testing" / "host" / "cmake"
    # Nothing is compiled: no compiler needs to be there, and looking for one takes most of the time.
    compilers = [
        f"-DCMAKE_{language}_COMPILER{rest}" for language in ("C", "CXX") for rest in ("=true", "_FORCED=TRUE")
    ]
    command = ["cmake", "-S", str(ROOT), "-B", str(build), f"-DSlicer_DIR={slicer}", *compilers]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return build


def shipped_library_files() -> set[str]:
    """Everything in the library that is no build product."""
    return {
        f"VISTA3DLib/{path.relative_to(LIBRARY).as_posix()}"
        for path in LIBRARY.rglob("*")
        if path.is_file() and path.suffix != ".pyc" and path.name != "CMakeLists.txt"
    }


def shipped_module_files() -> set[str]:
    """Everything that the module needs at run time."""
    packages = [p for name in ("VISTA3DScene", "VISTA3DWidgets") for p in (MODULE / name).rglob("*")]
    resources = [p for p in (MODULE / "Resources").rglob("*") if "Screenshots" not in p.parts and p.suffix != ".svg"]
    files = [p for p in [MODULE / "VISTA3D.py", *packages, *resources] if p.is_file() and p.suffix != ".pyc"]
    return {path.relative_to(MODULE).as_posix() for path in files}


def test_every_file_is_packaged(configured: Path) -> None:
    packaged = set((configured / "package.txt").read_text().split())
    assert packaged == shipped_library_files() | shipped_module_files()


def test_the_worker_the_classes_and_the_built_in_weights_are_among_them() -> None:
    names = shipped_library_files()
    assert {"VISTA3DLib/worker/__main__.py", "VISTA3DLib/data/labels.json", "VISTA3DLib/data/weights.json"} <= names
    entries = json.loads((LIBRARY / "data" / "weights.json").read_text())["entries"]
    for entry in entries:
        if "packaged" in entry and (LIBRARY / "data" / entry["packaged"]).exists():
            assert f"VISTA3DLib/data/{entry['packaged']}" in names


def test_tests_in_slicer_are_registered_by_absolute_paths(configured: Path) -> None:
    tests = (configured / "tests.txt").read_text().split()
    expected = sorted((ROOT / "Testing" / "in_slicer").glob("test_*.py"))
    assert expected
    assert tests == ["VISTA3D.py", *map(str, expected)]


def test_no_module_file_lies_beside_the_module() -> None:
    """Slicer takes every .py there for a module."""
    assert [p.name for p in MODULE.glob("*.py")] in ([], ["VISTA3D.py"])


def cmake_metadata() -> dict[str, str]:
    text = (ROOT / "CMakeLists.txt").read_text()
    values = dict(re.findall(r'^set\(EXTENSION_(\w+) "([^"\n]*)"\)$', text, flags=re.MULTILINE))
    match = re.search(r"^project\((\w+)\)$", text, flags=re.MULTILINE)
    assert match is not None
    return {**values, "PROJECT": match.group(1)}


def s4ext_metadata() -> dict[str, str]:
    lines = (ROOT / "VISTA3D.s4ext").read_text().splitlines()
    pairs = [line.partition(" ") for line in lines if line and not line.startswith("#")]
    return {key: value for key, _, value in pairs}


def test_cmake_sees_the_same_metadata_as_the_parser(configured: Path) -> None:
    lines = (configured / "metadata.txt").read_text().splitlines()
    assert {key: value for key, _, value in (line.partition(" ") for line in lines)} == cmake_metadata()


def test_descriptions_agree() -> None:
    cmake, s4ext = cmake_metadata(), s4ext_metadata()
    index = json.loads((ROOT / "VISTA3D.json").read_text())
    for key in ("HOMEPAGE", "CATEGORY", "CONTRIBUTORS", "DESCRIPTION", "ICONURL", "SCREENSHOTURLS", "DEPENDS"):
        assert s4ext[key.lower()] == cmake[key], key
    assert index["category"] == cmake["CATEGORY"]
    assert index["scm_url"] == s4ext["scmurl"] == f"{cmake['HOMEPAGE']}.git"
    assert index["scm_revision"] == s4ext["scmrevision"]
    assert index["build_dependencies"] == cmake["DEPENDS"].split() == s4ext["depends"].split()
    assert index["build_subdirectory"] == s4ext["build_subdirectory"]


def test_extensions_index_accepts_the_description() -> None:
    """The rules of the index's checker that can be tested without a network."""
    index = json.loads((ROOT / "VISTA3D.json").read_text())
    required = {"$schema", "category", "scm_url"}
    allowed = required | {"scm_revision", "build_dependencies", "build_subdirectory", "enabled", "tier"}
    assert required <= set(index) <= allowed
    cmake = cmake_metadata()
    assert cmake["PROJECT"] == "VISTA3D" == (ROOT / "VISTA3D.json").stem
    assert not cmake["PROJECT"].startswith("Slicer")
    assert cmake["HOMEPAGE"].rsplit("/", 1)[1].startswith("Slicer")
    assert (ROOT / "LICENSE").is_file()
    for key in ("ICONURL", "SCREENSHOTURLS"):
        for url in cmake[key].split():
            assert url.startswith("https://raw.githubusercontent.com/")
            assert "&" not in url


def test_addresses_of_pictures_name_files_of_this_repository() -> None:
    cmake = cmake_metadata()
    for key in ("ICONURL", "SCREENSHOTURLS"):
        for url in cmake[key].split():
            path = ROOT / url.split("/main/", 1)[1]
            assert path.is_file(), path
            assert path.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"


def test_icons_are_square() -> None:
    icons = sorted((MODULE / "Resources" / "Icons").glob("*.png"))
    assert {path.stem for path in icons} == {p.stem for p in (MODULE / "Resources" / "Icons").glob("*.svg")}
    for path in icons:
        width, height = struct.unpack(">II", path.read_bytes()[16:24])
        assert width == height == (128 if path.stem == "VISTA3D" else 48)


def test_requirements_are_those_of_the_package() -> None:
    lines = (MODULE / "Resources" / "requirements.txt").read_text().splitlines()
    wanted = [line for line in lines if line and not line.startswith("#")]
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    known = {item for items in project["optional-dependencies"].values() for item in items}
    assert set(wanted) <= known, "say the same in pyproject.toml"
    names = {re.split(r"[<>=!~\[ ]", line)[0].lower() for line in wanted}
    assert not names & {"torch", "numpy", "simpleitk"}, "Slicer brings these itself"
