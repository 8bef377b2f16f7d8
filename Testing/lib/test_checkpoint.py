"""Reading weights: every published form, strictly."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from monai.networks.nets import vista3d132
from monai.networks.nets.vista3d import VISTA3D
from safetensors.torch import save_file

from VISTA3DLib.checkpoint import canonical_names, fill_network, load_network, read_checkpoint, save_checkpoint
from VISTA3DLib.classes import ClassCatalogue
from VISTA3DLib.errors import CheckpointError, OutputError
from VISTA3DLib.network import build_network, parameter_count, seeded_network
from VISTA3DLib.settings import NetworkSettings, PercentileWindow

Tensors = Mapping[str, torch.Tensor]
CONV = "image_encoder.encoder.conv_init.weight"


@pytest.fixture(scope="module")
def network(tiny_settings: NetworkSettings) -> VISTA3D:
    return seeded_network(tiny_settings, 3)


@pytest.fixture(scope="module")
def tensors(network: VISTA3D) -> Tensors:
    return network.state_dict()


def research_names(tensors: Tensors) -> dict[str, torch.Tensor]:
    """As the research code (MONAI 1.3) names them, with the tensors that only it has."""
    named = {k.replace(".mlp.linear", ".mlp.lin") if ".transformer." in k else k: v for k, v in tensors.items()}
    for i in range(4):
        named[f"weight_mapper.{i}"] = torch.rand(3)
    for i in range(12):
        named[f"point_head.output_add_hypernetworks_mlps.0.layers.{i}.weight"] = torch.rand(3)
    return named


def prefixed(prefix: str) -> Callable[[Tensors], dict[str, torch.Tensor]]:
    return lambda tensors: {prefix + k: v for k, v in tensors.items()}


def same(one: Tensors, other: Tensors) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[k], other[k]) for k in one)


FORMS: dict[str, Callable[[Tensors], dict[str, Any]]] = {
    "monai": dict,
    "research": research_names,
    "hugging face": prefixed("network."),
    "ddp": prefixed("module."),
    "ddp research": lambda t: prefixed("module.")(research_names(t)),
    "two prefixes": prefixed("module.network."),
    "compiled": prefixed("_orig_mod."),
}
WRAPPERS: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
    "bare": dict,
    "model": lambda t: {"model": t, "epoch": 3, "step": 7},
    "state_dict": lambda t: {"state_dict": t, "best_metric": 0.5},
    "twice": lambda t: {"model": {"state_dict": t}, "optimizer": {"state": {}, "lr": 1e-5}},
}


class TestPublishedForms:
    @pytest.mark.parametrize("wrapper", WRAPPERS)
    @pytest.mark.parametrize("form", FORMS)
    def test_a_pickle_gives_the_same_tensors(self, tensors: Tensors, tmp_path: Path, form: str, wrapper: str) -> None:
        path = tmp_path / "weights.pt"
        torch.save(WRAPPERS[wrapper](FORMS[form](tensors)), path)
        assert same(read_checkpoint(path).tensors, tensors)

    @pytest.mark.parametrize("form", FORMS)
    def test_safetensors_give_the_same_tensors(self, tensors: Tensors, tmp_path: Path, form: str) -> None:
        path = tmp_path / "weights.safetensors"
        save_file(FORMS[form](tensors), path, metadata={"format": "pt"})
        assert same(read_checkpoint(path).tensors, tensors)

    @pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
    @pytest.mark.parametrize("ending", [".pt", ".safetensors"])
    def test_other_precisions_become_float32(
        self, tensors: Tensors, tmp_path: Path, dtype: torch.dtype, ending: str
    ) -> None:
        path, stored = tmp_path / f"weights{ending}", {k: v.to(dtype) for k, v in tensors.items()}
        torch.save(stored, path) if ending == ".pt" else save_file(stored, path)
        network, _ = load_network(path)
        assert same(network.state_dict(), {k: v.float() for k, v in stored.items()})

    def test_the_old_file_format_of_torch_is_read(self, tensors: Tensors, tmp_path: Path) -> None:
        path = tmp_path / "weights.pth"
        torch.save(dict(tensors), path, _use_new_zipfile_serialization=False)
        assert same(read_checkpoint(path).tensors, tensors)

    @pytest.mark.parametrize("name", ["889042ab37dbb9f9b2467e4a91654fb3b56482b7", "model.bin", "MODEL.SAFETENSORS"])
    def test_the_content_decides_not_the_ending(self, tensors: Tensors, tmp_path: Path, name: str) -> None:
        path = tmp_path / name
        for write in (lambda: torch.save(dict(tensors), path), lambda: save_file(dict(tensors), path)):
            write()
            assert same(read_checkpoint(path).tensors, tensors)


class TestLoading:
    def test_the_network_computes_what_it_did_before_it_was_saved(
        self, network: VISTA3D, tiny_settings: NetworkSettings, tmp_path: Path
    ) -> None:
        path = tmp_path / "weights.safetensors"
        save_checkpoint(path, network, tiny_settings, metadata={"title": "Tiny", "epochs": 3})
        loaded, stored = load_network(path)
        image, classes = torch.rand(1, 1, 16, 16, 16), torch.tensor([[1], [3]])
        with torch.inference_mode():
            assert torch.equal(loaded(image, class_vector=classes), network(image, class_vector=classes))
        assert stored == tiny_settings
        assert read_checkpoint(path).metadata == {"title": "Tiny", "epochs": 3}
        assert not any(t.is_meta for t in (*loaded.parameters(), *loaded.buffers()))
        assert not loaded.training

    def test_settings_of_every_kind_come_back(self, tmp_path: Path) -> None:
        odd = NetworkSettings(
            filters=8,
            blocks_down=(1, 1),
            window=(16, 32, 16),
            spacing=None,
            intensity=PercentileWindow(low=2.0, high=98.0),
            catalogue=ClassCatalogue.load("ctmr"),
            interactive=False,
            modality="MR",
        )
        path = tmp_path / "odd.safetensors"
        save_checkpoint(path, seeded_network(odd, 0), odd)
        assert load_network(path)[1] == odd

    def test_the_file_s_settings_win_over_the_default_and_lose_to_an_order(
        self, network: VISTA3D, tiny_settings: NetworkSettings, tmp_path: Path
    ) -> None:
        path, other = tmp_path / "weights.safetensors", replace(tiny_settings, spacing=(2.0, 2.0, 2.0))
        save_checkpoint(path, network, tiny_settings)
        assert load_network(path, default=other)[1] == tiny_settings
        assert load_network(path, other)[1] == other

    def test_a_foreign_file_takes_the_default_or_a_size_read_from_its_tensors(
        self, tensors: Tensors, tiny_settings: NetworkSettings, tmp_path: Path
    ) -> None:
        path = tmp_path / "weights.pt"
        torch.save(dict(tensors), path)
        assert load_network(path, default=tiny_settings)[1] == tiny_settings
        inferred = load_network(path)[1]
        assert (inferred.filters, inferred.blocks_down, inferred.class_table) == (8, (1, 1), 512)

    def test_half_precision_files_are_half_as_large(
        self, network: VISTA3D, tiny_settings: NetworkSettings, tmp_path: Path
    ) -> None:
        full, half = tmp_path / "full.safetensors", tmp_path / "half.safetensors"
        save_checkpoint(full, network, tiny_settings)
        save_checkpoint(half, network, tiny_settings, dtype=torch.float16)
        saved = full.stat().st_size - half.stat().st_size
        assert saved == pytest.approx(2 * (parameter_count(network) + 12), rel=0.01)  # 12: the one buffer, 3 x 4
        assert next(load_network(half)[0].parameters()).dtype == torch.float32

    def test_a_place_that_cannot_be_written_leaves_no_part(
        self, network: VISTA3D, tiny_settings: NetworkSettings, tmp_path: Path
    ) -> None:
        (tmp_path / "folder").write_text("in the way")
        with pytest.raises(OutputError):
            save_checkpoint(tmp_path / "folder" / "weights.safetensors", network, tiny_settings)
        assert [p.name for p in tmp_path.iterdir()] == ["folder"]


class TestStrictness:
    def fill(self, tensors: Tensors, settings: NetworkSettings, message: str) -> None:
        target = build_network(settings)
        before = {k: v.clone() for k, v in target.state_dict().items()}
        with pytest.raises(CheckpointError, match=message) as caught:
            fill_network(target, tensors, origin="x.pt")
        assert "x.pt" in caught.value.message
        assert same(target.state_dict(), before)

    def test_every_single_missing_tensor_is_noticed(self, tensors: Tensors, tiny_settings: NetworkSettings) -> None:
        target = build_network(tiny_settings)
        for name in tensors:
            with pytest.raises(CheckpointError, match=r"1 missing \(" + name.replace(".", r"\.")):
                fill_network(target, {k: v for k, v in tensors.items() if k != name}, origin="x.pt")

    def test_an_unknown_tensor_is_named(self, tensors: Tensors, tiny_settings: NetworkSettings) -> None:
        self.fill({**tensors, "lora.weight": torch.zeros(1)}, tiny_settings, r"1 unknown \(lora\.weight\)")

    def test_only_the_first_of_many_are_named(self, tensors: Tensors, tiny_settings: NetworkSettings) -> None:
        extra = {f"extra.{i}": torch.zeros(1) for i in range(40)}
        self.fill({**tensors, **extra}, tiny_settings, r"40 unknown \(extra\.0, .*extra\.4 and 35 more\)")

    def test_another_shape_is_named(self, tensors: Tensors, tiny_settings: NetworkSettings) -> None:
        wrong = {**tensors, CONV: torch.zeros(8, 2, 3, 3, 3)}
        self.fill(wrong, tiny_settings, r"conv_init\.weight \(8, 2, 3, 3, 3\) instead of \(8, 1, 3, 3, 3\)")

    @pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
    def test_a_value_that_is_not_finite_is_named(
        self, tensors: Tensors, tiny_settings: NetworkSettings, value: float
    ) -> None:
        broken = tensors[CONV].clone()
        broken[3, 0, 1, 1, 1] = value
        self.fill({**tensors, CONV: broken}, tiny_settings, r"not finite: 1 broken \(image_encoder.*conv_init")

    def test_integers_are_no_weights(self, tensors: Tensors, tiny_settings: NetworkSettings) -> None:
        self.fill({**tensors, CONV: torch.ones_like(tensors[CONV]).to(torch.int8)}, tiny_settings, "as torch.int8")

    def test_tensors_without_values_are_no_weights(self, tensors: Tensors, tiny_settings: NetworkSettings) -> None:
        self.fill({**tensors, CONV: tensors[CONV].to("meta")}, tiny_settings, "no plain floating-point")

    def test_the_weights_of_another_size_are_refused_for_given_settings(
        self, tensors: Tensors, tiny_settings: NetworkSettings, tmp_path: Path
    ) -> None:
        path = tmp_path / "weights.pt"
        torch.save(dict(tensors), path)
        with pytest.raises(CheckpointError, match="missing"):
            load_network(path, replace(tiny_settings, blocks_down=(1, 2)))
        with pytest.raises(CheckpointError, match="another size"):
            load_network(path, replace(tiny_settings, filters=16))

    def test_one_name_in_two_forms_is_refused(self, tensors: Tensors) -> None:
        with pytest.raises(CheckpointError, match=r"two tensors for .*conv_init.*module\."):
            canonical_names({**tensors, f"module.{CONV}": tensors[CONV]})
        both = {**tensors, **{k.replace(".linear1.", ".lin1."): v for k, v in tensors.items() if ".linear1." in k}}
        with pytest.raises(CheckpointError, match=r"two tensors for .*linear1"):
            canonical_names(both)


@pytest.mark.slow
class TestFullNetwork:
    def test_the_published_network_has_its_published_size(self) -> None:
        with torch.device("meta"):
            network = build_network(NetworkSettings())
        assert parameter_count(network) == 217_964_982
        assert len(network.state_dict()) == 259
        with torch.device("meta"):
            official = vista3d132(in_channels=1).state_dict()
        ours = network.state_dict()
        assert {k: v.shape for k, v in ours.items()} == {k: v.shape for k, v in official.items()}

    def test_the_research_release_computes_the_same(self, tmp_path: Path) -> None:
        network = seeded_network(NetworkSettings(), 0)
        research = research_names(network.state_dict())
        assert len(research) == 275
        path = tmp_path / "model_monai1.3.pt"
        torch.save(research, path)
        loaded, used = load_network(path)
        path.unlink()
        assert used == NetworkSettings()
        image, classes = torch.rand(1, 1, 32, 32, 32), torch.tensor([[3]])
        points, labels = torch.tensor([[[8.0, 9.0, 10.0]]]), torch.tensor([[1]])
        with torch.inference_mode():
            assert torch.equal(loaded(image, class_vector=classes), network(image, class_vector=classes))
            clicked = [n(image, point_coords=points, point_labels=labels) for n in (loaded, network)]
        assert torch.equal(*clicked)


def test_weights_have_the_rights_of_any_new_file(
    network: VISTA3D, tiny_settings: NetworkSettings, tmp_path: Path
) -> None:
    plain = tmp_path / "plain"
    plain.touch()
    save_checkpoint(tmp_path / "w.safetensors", network, tiny_settings)
    assert (tmp_path / "w.safetensors").stat().st_mode == plain.stat().st_mode
