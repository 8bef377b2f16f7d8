"""The catalogue of weights: what is listed, what a name means, and which licences were accepted."""

from __future__ import annotations

import json
import os
import struct
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from VISTA3DLib.classes import ClassCatalogue
from VISTA3DLib.consents import accept, is_accepted
from VISTA3DLib.errors import CheckpointError, ClassError, OutputError
from VISTA3DLib.settings import HUWindow, NetworkSettings, PercentileWindow
from VISTA3DLib.weights import (
    ASSUMED_CT,
    WeightsCatalogue,
    catalogue_of,
    config_folder,
    describe_file,
    find_weights,
    models_folders,
    read_header,
)

OFFICIAL = ("vista3d-mini", "vista3d-ct", "vista3d-ct-research", "vista3d-ctmr")


@pytest.fixture(autouse=True)
def models(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The person's models folder."""
    folder = tmp_path / "models"
    folder.mkdir()
    monkeypatch.setenv("VISTA3D_MODELS", str(folder))
    monkeypatch.setenv("VISTA3D_CONFIG", str(tmp_path / "config"))
    return folder


def write_safetensors(path: Path, about: dict[str, Any] | None = None, stored: dict[str, Any] | None = None) -> Path:
    """A file of one tensor, with our own settings and metadata inside if ``about`` is given."""
    header: dict[str, Any] = {"x": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}
    header["__metadata__"] = {"format": "pt"}
    if about is not None:
        header["__metadata__"]["vista3d"] = json.dumps({"settings": stored or {"format": 1}, "metadata": about})
    text = json.dumps(header).encode()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(struct.pack("<Q", len(text)) + text + bytes(8))
    return path


class TestOfficialEntries:
    def test_they_are_the_four_that_the_project_knows(self) -> None:
        catalogue = WeightsCatalogue.load()
        assert catalogue.ids == OFFICIAL
        assert len(catalogue) == 4
        assert catalogue.problems == ()

    def test_their_origins_are_pinned(self) -> None:
        for entry in WeightsCatalogue.load():
            if entry.id != "vista3d-mini":
                assert entry.origin is not None
                assert len(entry.origin.revision) == 40
                assert entry.size is not None
                assert 871e6 < entry.size < 873e6
                assert entry.licence.must_accept
        assert find_weights("vista3d-ct").size == 871_894_112
        research = find_weights("vista3d-ct-research").sha256
        assert research == "889042ab37dbb9f9b2467e4a91654fb3b56482b74b98d315fc89026ab1570af8"

    def test_the_ct_licence_states_the_contradiction(self) -> None:
        licence = find_weights("vista3d-ct").licence
        for part in ("contradict", "NVIDIA Open Model License", "non-commercial", "LICENSE file", "README"):
            assert part in licence.summary
        assert licence.url.startswith("https://www.nvidia.com/")
        assert "README.md" in licence.files

    def test_the_ct_settings_are_the_published_ones(self) -> None:
        for id in ("vista3d-ct", "vista3d-ct-research"):
            assert find_weights(id).network_settings() == NetworkSettings()
        assert isinstance(NetworkSettings().intensity, HUWindow)

    def test_the_ctmr_settings_differ_where_they_should(self) -> None:
        entry = find_weights("vista3d-ctmr")
        assert entry.network_settings() == NetworkSettings(
            window=(192, 192, 128),
            intensity=PercentileWindow(low=1.0, high=99.0),
            catalogue=ClassCatalogue.load("ctmr"),
            interactive=False,
            modality="CT+MR",
        )
        assert (entry.automatic, entry.interactive) == (True, False)
        assert "Noncommercial" in entry.licence.name

    def test_mini_is_for_demonstration_and_says_so_when_untrained(self) -> None:
        entry = find_weights("vista3d-mini")
        settings = entry.network_settings()
        assert settings is not None
        assert (settings.filters, settings.blocks_down, settings.window) == (16, (1, 2, 2, 4), (64, 64, 64))
        assert settings.spacing == (3.0, 3.0, 3.0)
        assert entry.demonstration
        assert not entry.licence.must_accept
        assert entry.path is not None
        assert entry.path.is_file() or "untrained: random weights from seed 0" in entry.note


class TestModelsFolders:
    def test_a_file_with_a_description_is_listed_like_any_other(self, models: Path) -> None:
        about = {"title": "Mouse lungs", "description": "Micro-CT.", "base": "vista3d-ct"}
        write_safetensors(models / "mouse.safetensors", about, {"interactive": False, "modality": "micro-CT"})
        entry = find_weights("mouse")
        assert entry in list(WeightsCatalogue.load())
        assert (entry.title, entry.description, entry.modality) == ("Mouse lungs", "Micro-CT.", "micro-CT")
        assert (entry.automatic, entry.interactive) == (True, False)
        assert entry.licence == find_weights("vista3d-ct").licence
        assert entry.network_settings() is None

    def test_a_foreign_file_is_listed_with_a_warning(self, models: Path) -> None:
        (models / "theirs.pt").write_bytes(b"anything")
        entry = find_weights("theirs")
        assert entry.note == ASSUMED_CT
        assert entry.licence.name == "not stated"

    def test_a_broken_file_does_not_hide_the_others(self, models: Path) -> None:
        (models / "broken.safetensors").write_bytes(b"x")
        write_safetensors(models / "good.safetensors", {})
        catalogue = WeightsCatalogue.load()
        assert catalogue.ids == (*OFFICIAL, "good")
        assert "broken.safetensors is truncated" in catalogue.problems[0]

    def test_other_files_are_left_alone(self, models: Path) -> None:
        for name in ("notes.txt", ".hidden.pt", "half.safetensors.part"):
            (models / name).write_text("x")
        (models / "folder.pt").mkdir()
        assert WeightsCatalogue.load().ids == OFFICIAL

    def test_the_first_of_two_files_with_one_name_counts(self, models: Path, tmp_path: Path) -> None:
        first = write_safetensors(tmp_path / "extra" / "mine.safetensors", {"title": "First"})
        write_safetensors(models / "mine.safetensors", {"title": "Second"})
        catalogue = WeightsCatalogue.load([tmp_path / "extra"])
        assert catalogue["mine"].path == first
        assert "name of other weights" in catalogue.problems[0]

    def test_several_folders_and_missing_ones(
        self, models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        write_safetensors(tmp_path / "b" / "mine.safetensors", {})
        monkeypatch.setenv("VISTA3D_MODELS", os.pathsep.join([str(tmp_path / "gone"), str(tmp_path / "b")]))
        assert "mine" in WeightsCatalogue.load().ids

    def test_a_copy_under_an_official_name_stands_for_it(self, models: Path) -> None:
        path = write_safetensors(models / "vista3d-ctmr.safetensors")
        entry = find_weights("vista3d-ctmr")
        assert entry.path == path
        assert entry.origin is None
        assert entry.network_settings() == NetworkSettings(
            window=(192, 192, 128),
            intensity=PercentileWindow(),
            catalogue=ClassCatalogue.load("ctmr"),
            interactive=False,
            modality="CT+MR",
        )

    def test_a_trained_file_cannot_take_an_official_name(self, models: Path) -> None:
        write_safetensors(models / "vista3d-ct.safetensors", {"title": "Impostor"})
        catalogue = WeightsCatalogue.load()
        assert catalogue["vista3d-ct"].origin is not None
        assert "Rename the file" in catalogue.problems[0]

    @pytest.mark.skipif(sys.platform != "linux", reason="the places of Linux")
    def test_the_usual_places(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        for name in ("VISTA3D_MODELS", "VISTA3D_CONFIG", "XDG_DATA_HOME", "XDG_CONFIG_HOME"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv("HOME", str(tmp_path))
        assert models_folders() == (tmp_path / ".local/share/vista3d/models",)
        assert config_folder() == tmp_path / ".config/vista3d"
        monkeypatch.setenv("XDG_DATA_HOME", "/data")
        assert models_folders() == (Path("/data/vista3d/models"),)


class TestClassesOfWeights:
    def test_official_ones_have_their_own(self) -> None:
        assert catalogue_of(find_weights("vista3d-ct")) == ClassCatalogue.load("ct")
        assert catalogue_of(find_weights("vista3d-ctmr")) == ClassCatalogue.load("ctmr")

    def test_a_file_has_those_that_it_was_trained_on(self, models: Path) -> None:
        few = ClassCatalogue.load("ct").restricted_to(["liver", "spleen"])
        write_safetensors(models / "few.safetensors", {}, {"format": 1, "catalogue": few.to_dict()})
        assert catalogue_of(find_weights("few")) == few

    def test_a_foreign_file_has_those_of_the_ct_model(self, models: Path) -> None:
        (models / "theirs.pt").write_bytes(b"x")
        assert catalogue_of(find_weights("theirs")) == ClassCatalogue.load("ct")

    def test_damaged_ones_are_an_error(self, models: Path) -> None:
        write_safetensors(models / "odd.safetensors", {}, {"format": 1, "catalogue": {"id": "x"}})
        with pytest.raises(ClassError):
            catalogue_of(find_weights("odd"))


class TestNames:
    def test_a_path_in_every_way_of_writing_it(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        path = write_safetensors(tmp_path / "my models" / "mine.safetensors", {})
        monkeypatch.chdir(path.parent)
        monkeypatch.setenv("HOME", str(tmp_path))
        monkeypatch.setenv("USERPROFILE", str(tmp_path))
        ways: tuple[str | Path, ...] = (path, str(path), path.as_uri(), f" {path} ", "~/my models/mine.safetensors")
        for spec in (*ways, "mine.safetensors", "./mine.safetensors", str(path.parent), path.parent):
            found = find_weights(spec)
            assert found.id == "mine"
            assert found.path is not None
            assert found.path.samefile(path)

    def test_an_address_on_another_machine_is_refused(self) -> None:
        with pytest.raises(CheckpointError, match="on the machine 'server'"):
            find_weights("file://server/share/model.pt")

    def test_a_folder_with_several_files_asks_which(self, tmp_path: Path) -> None:
        for name in ("a.safetensors", "b.safetensors"):
            write_safetensors(tmp_path / name)
        with pytest.raises(CheckpointError, match=r"2 weights files.*a\.safetensors"):
            find_weights(str(tmp_path))

    def test_a_clone_of_the_official_repository_is_recognised(self, tmp_path: Path) -> None:
        for owner in ("NV-Segment-CTMR", "models--nvidia--NV-Segment-CTMR/snapshots/4fb8"):
            write_safetensors(tmp_path / owner / "vista3d_pretrained_model" / "model.safetensors")
            entry = find_weights(str(tmp_path / owner))
            assert entry.id == "vista3d-ctmr"
            assert not entry.interactive
        (tmp_path / "NV-Segment-CT").mkdir()
        (tmp_path / "NV-Segment-CT" / "model_monai1.3.pt").write_bytes(b"x")
        assert find_weights(str(tmp_path / "NV-Segment-CT")).id == "vista3d-ct-research"

    def test_a_foreign_file_is_never_taken_for_the_packaged_weights(self, tmp_path: Path) -> None:
        (tmp_path / "vista3d-mini.pt").write_bytes(b"x")
        entry = find_weights(tmp_path / "vista3d-mini.pt")
        assert (entry.note, entry.demonstration) == (ASSUMED_CT, False)

    def test_settings_of_an_id_for_a_file_of_any_name(self, tmp_path: Path) -> None:
        path = tmp_path / "whatever.pt"
        path.write_bytes(b"x")
        entry = find_weights(f"vista3d-ctmr={path}")
        assert (entry.id, entry.path, entry.modality, entry.size) == ("vista3d-ctmr", path, "CT+MR", None)

    @pytest.mark.parametrize(
        "spec", ["/gone/model.pt", "gone.safetensors", "file:///gone", "~no_such_person/x", "x" * 400]
    )
    def test_a_file_that_is_not_there(self, spec: str) -> None:
        with pytest.raises(CheckpointError, match="There are no weights") as caught:
            find_weights(spec)
        assert caught.value.fix

    @pytest.mark.parametrize(
        ("spec", "meant"),
        [("vista3d_ct", "vista3d-ct"), ("VISTA3D-CTMR", "vista3d-ctmr"), ("mini", "vista3d-mini")],
    )
    def test_a_wrong_id_gets_the_nearest_and_the_list(self, spec: str, meant: str) -> None:
        with pytest.raises(CheckpointError, match=f"There are no weights '{spec}'") as caught:
            find_weights(spec)
        assert f"Did you mean {meant}" in caught.value.fix
        assert all(id in caught.value.fix for id in OFFICIAL)

    @pytest.mark.parametrize("spec", ["", "   ", "=", "vista3d-ct=", "nonsense=/x.pt", "\0"])
    def test_nonsense_is_a_checkpoint_error(self, spec: str) -> None:
        with pytest.raises(CheckpointError):
            find_weights(spec)


class TestHeaders:
    def test_a_header_is_read_without_torch(self, tmp_path: Path) -> None:
        header = read_header(write_safetensors(tmp_path / "x.safetensors"))
        assert header["x"]["shape"] == [2]

    @pytest.mark.parametrize("change", [-1, 1])
    def test_missing_and_extra_bytes_are_noticed(self, tmp_path: Path, change: int) -> None:
        path = write_safetensors(tmp_path / "x.safetensors")
        content = path.read_bytes()
        path.write_bytes(content[:-1] if change < 0 else content + b"\0")
        with pytest.raises(CheckpointError, match=r"1 bytes are (missing|too many)"):
            read_header(path)

    @settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(content=st.binary(max_size=60) | st.text(max_size=40).map(lambda t: struct.pack("<Q", len(t)) + t.encode()))
    def test_any_other_content_is_a_checkpoint_error(self, tmp_path: Path, content: bytes) -> None:
        path = tmp_path / "x.safetensors"
        path.write_bytes(content)
        try:
            read_header(path)
        except CheckpointError:
            return
        assert json.loads(content[8:]) == {}  # the one such file that is none the worse

    @pytest.mark.parametrize("text", ["{", "[]", "{}", '{"settings": 3}', '{"settings": {}, "metadata": 3}', 7])
    def test_damaged_descriptions_are_named(self, tmp_path: Path, text: object) -> None:
        header = json.dumps({"__metadata__": {"vista3d": text}}).encode()
        path = tmp_path / "x.safetensors"
        path.write_bytes(struct.pack("<Q", len(header)) + header)
        with pytest.raises(CheckpointError, match=r"settings inside .* cannot be read"):
            describe_file(path)


class TestConsent:
    entry = WeightsCatalogue.load()["vista3d-ct"]

    def test_nothing_is_accepted_at_first_and_free_licences_need_not_be(self) -> None:
        assert not is_accepted(self.entry)
        assert is_accepted(find_weights("vista3d-mini"))

    def test_an_acceptance_is_remembered_with_its_date_for_this_entry_only(self) -> None:
        accept(self.entry)
        assert is_accepted(self.entry)
        assert not is_accepted(find_weights("vista3d-ctmr"))
        record = json.loads((config_folder() / "licences.json").read_text())["accepted"]["vista3d-ct"]
        assert record["licence"] == self.entry.licence.name
        assert record["date"].endswith("+00:00")

    def test_acceptances_add_up(self) -> None:
        accept(self.entry)
        accept(find_weights("vista3d-ctmr"))
        assert is_accepted(self.entry)

    def test_another_text_has_to_be_accepted_again(self) -> None:
        accept(self.entry)
        assert not is_accepted(replace(self.entry, licence=replace(self.entry.licence, summary="New terms.")))

    @pytest.mark.parametrize("text", ["", "{", "[]", '{"accepted": 3}', '{"accepted": {"vista3d-ct": 3}}'])
    def test_a_damaged_record_means_asking_again(self, text: str) -> None:
        config_folder().mkdir()
        (config_folder() / "licences.json").write_text(text)
        assert not is_accepted(self.entry)
        accept(self.entry)
        assert is_accepted(self.entry)

    def test_a_place_that_cannot_be_written_is_told_and_keeps_nothing(self, tmp_path: Path) -> None:
        (tmp_path / "config").write_text("in the way")
        with pytest.raises(OutputError):
            accept(self.entry)
        assert not is_accepted(self.entry)


def test_the_catalogue_needs_neither_torch_nor_the_hub() -> None:
    code = "import sys, VISTA3DLib.weights as w; w.WeightsCatalogue.load(); print(sorted({'torch', 'monai', "
    code += "'safetensors', 'huggingface_hub'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
