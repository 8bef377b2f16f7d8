"""From the name of some weights to a model, and the check of a file."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hub_server import REVISION, HubServer, forget_the_person, serving

from VISTA3DLib.checkpoint import save_checkpoint
from VISTA3DLib.devices import Runtime
from VISTA3DLib.download import download
from VISTA3DLib.errors import CheckpointError, DeviceError
from VISTA3DLib.loading import load_model, load_weights, verify, weights_path
from VISTA3DLib.model import Model
from VISTA3DLib.network import seeded_network
from VISTA3DLib.settings import NetworkSettings
from VISTA3DLib.weights import ASSUMED_CT, Licence, Origin, WeightsEntry, find_weights

CPU = Runtime(device=torch.device("cpu"))


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No setting of the person who runs the tests takes part."""
    forget_the_person(monkeypatch, tmp_path)


@pytest.fixture
def own(tiny_settings: NetworkSettings, tmp_path: Path) -> Path:
    """Fine-tuned weights in the models folder."""
    path = tmp_path / "models" / "own.safetensors"
    save_checkpoint(path, seeded_network(tiny_settings, 5), tiny_settings, metadata={"title": "Own"})
    return path


def features(model: Model) -> torch.Tensor:
    """What the model computes for a fixed window."""
    window = torch.linspace(0, 1, 16**3).reshape(1, 1, 16, 16, 16)
    return model.automatic_features(window)


class TestMini:
    def test_it_is_the_default_and_needs_no_network(self, tmp_path: Path) -> None:
        model = load_model(runtime=CPU, cache_dir=tmp_path / "nowhere")
        assert model.id == "vista3d-mini"
        assert model.settings.filters == 16
        assert model.entry.demonstration

    @pytest.mark.skipif(not find_weights("vista3d-mini").note, reason="the trained weights are there")
    def test_untrained_it_says_so_and_is_always_the_same(self) -> None:
        one, other = load_model(runtime=CPU), load_model(device="cpu", precision="fp32")
        assert one.note == "untrained: random weights from seed 0; for tests of the machinery only"
        assert all(torch.equal(a, b) for a, b in zip(one.network.parameters(), other.network.parameters(), strict=True))

    def test_loading_it_leaves_torch_s_random_numbers_alone(self) -> None:
        torch.manual_seed(1)
        expected = torch.rand(3)
        torch.manual_seed(1)
        load_model(runtime=CPU)
        assert torch.equal(torch.rand(3), expected)


class TestOwnWeights:
    def test_by_id_path_and_address_they_are_the_same_model(self, own: Path, tiny_settings: NetworkSettings) -> None:
        truth = features(Model(seeded_network(tiny_settings, 5), tiny_settings, CPU))
        for spec in ("own", own, str(own), own.as_uri(), find_weights("own")):
            model = load_model(spec, runtime=CPU)
            assert (model.id, model.settings, model.note) == ("own", tiny_settings, "")
            assert torch.equal(features(model), truth)

    def test_a_foreign_file_is_loaded_with_a_warning(self, tiny_settings: NetworkSettings, tmp_path: Path) -> None:
        path = tmp_path / "foreign.pt"
        torch.save({"model": seeded_network(tiny_settings, 5).state_dict()}, path)
        model = load_model(path, runtime=CPU)
        assert model.note == ASSUMED_CT
        assert model.settings == replace(NetworkSettings(), filters=8, blocks_down=(1, 1))

    def test_an_id_before_a_path_gives_the_settings(self, tiny_settings: NetworkSettings, tmp_path: Path) -> None:
        path = tmp_path / "foreign.pt"
        torch.save(seeded_network(tiny_settings, 5).state_dict(), path)
        with pytest.raises(CheckpointError, match="missing"):  # which are those of the full network
            load_model(f"vista3d-ctmr={path}", runtime=CPU)

    def test_the_file_itself_and_its_network_are_to_be_had(self, own: Path, tiny_settings: NetworkSettings) -> None:
        assert weights_path("own") == own
        network, settings = load_weights("own")
        assert settings == tiny_settings
        assert torch.equal(next(network.parameters()), next(seeded_network(tiny_settings, 5).parameters()))


class TestWhatIsMissing:
    def test_official_weights_that_are_not_there_name_the_command(self, tmp_path: Path) -> None:
        with pytest.raises(CheckpointError) as caught:
            load_model("vista3d-ct", runtime=CPU, cache_dir=tmp_path)
        assert "vista3d weights download vista3d-ct --accept-license" in caught.value.fix

    def test_an_unknown_id(self) -> None:
        with pytest.raises(CheckpointError, match="Did you mean vista3d-ct"):
            load_model("vista3d-tc", runtime=CPU)

    def test_a_device_that_is_not_there(self, own: Path) -> None:
        with pytest.raises(DeviceError):
            load_model(own, device="cuda:77")


class TestFromTheHub:
    def entry(self, content: bytes) -> WeightsEntry:
        filename = "vista3d_pretrained_model/model.safetensors"
        return WeightsEntry(
            id="tiny",
            title="Tiny",
            licence=Licence(name="Bound", must_accept=True),
            origin=Origin(repo="somebody/tiny", revision=REVISION, filename=filename),
            size=len(content),
        )

    def test_what_was_downloaded_is_loaded_and_verified_without_a_network(self, own: Path, tmp_path: Path) -> None:
        content, cache = own.read_bytes(), tmp_path / "cache"
        entry = self.entry(content)
        with pytest.raises(CheckpointError, match="not on this machine"):
            verify(entry, cache_dir=cache)
        hub = HubServer(revision=REVISION, files={"somebody/tiny/vista3d_pretrained_model/model.safetensors": content})
        with serving(hub):
            download(entry, accept_licence=True, cache_dir=cache, endpoint=hub.url)
        model = load_model(entry, runtime=CPU, cache_dir=cache)
        assert torch.equal(features(model), features(load_model(own, runtime=CPU)))
        report = verify(entry, cache_dir=cache)
        assert report.ok
        assert report.tensors_fit
        assert report.sha256 == report.expected_sha256 == next(hub.sha256(name) for name in hub.files)

        damaged = bytearray(content)
        damaged[-2] ^= 1  # a small change of a value: still loads, is not the same
        report.path.write_bytes(damaged)
        report = verify(entry, cache_dir=cache)
        assert not report.ok
        assert report.tensors_fit
        assert f"is {report.sha256} instead of {report.expected_sha256}" in report.problem

        report.path.write_bytes(content[:-5])
        report = verify(entry, cache_dir=cache)
        assert (report.ok, report.tensors_fit) == (False, False)
        assert f"has {len(content) - 5} bytes instead of {len(content)}" in report.problem
        with pytest.raises(CheckpointError, match="not on this machine"):
            load_model(entry, runtime=CPU, cache_dir=cache)


def test_a_file_of_unknown_origin_is_verified_as_far_as_possible(own: Path) -> None:
    report = verify(own)
    assert report.ok
    assert report.expected_sha256 is None
    assert len(report.sha256) == 64


def test_a_published_hash_is_what_counts(own: Path) -> None:
    report = verify(replace(find_weights(own), sha256="a" * 64))
    assert not report.ok
    assert "instead of aaaa" in report.problem
