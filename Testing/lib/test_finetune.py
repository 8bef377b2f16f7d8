"""Few-shot fine-tuning: a new class is learned, clicks stay as they are, and a person is told what went wrong."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import nibabel
import numpy as np
import pytest
import torch
from test_files_maker import small_disk

from VISTA3DLib.checkpoint import read_checkpoint, save_checkpoint
from VISTA3DLib.classes import ClassCatalogue
from VISTA3DLib.cli.app import run
from VISTA3DLib.devices import Runtime
from VISTA3DLib.errors import CheckpointError, OutputError, ReadError, SettingsError, TrainingError
from VISTA3DLib.model import Model
from VISTA3DLib.network import seeded_network
from VISTA3DLib.phantom import PhantomSettings, make_phantom
from VISTA3DLib.progress import Progress
from VISTA3DLib.settings import NetworkSettings
from VISTA3DLib.training.case_check import check_cases
from VISTA3DLib.training.datalist import DataList, LabelMapping, parse_mapping, read_datalist
from VISTA3DLib.training.finetune import FinetuneSettings, finetune
from VISTA3DLib.training.replay import with_answers

BASE = ClassCatalogue.load().restricted_to([1, 3])
NETWORK = NetworkSettings(
    catalogue=BASE, filters=8, blocks_down=(1, 1, 1), window=(32, 32, 32), spacing=(12.0, 12.0, 12.0)
)


def save_phantom(folder: Path, seed: int, values: dict[int, int]) -> dict[str, str]:
    """A coarse phantom and its label map with some classes as other values, as an entry of a list."""
    phantom = make_phantom(PhantomSettings(seed=seed, spacing=(12.0, 12.0, 12.0), variation=0.2, contrast=0.8))
    labels = np.zeros(phantom.labels.shape, np.uint8)
    for class_id, value in values.items():
        labels[phantom.labels == class_id] = value
    nibabel.save(nibabel.Nifti1Image(phantom.array, phantom.affine), folder / f"{seed}_ct.nii.gz")
    nibabel.save(nibabel.Nifti1Image(labels, phantom.affine), folder / f"{seed}_label.nii.gz")
    return {"id": f"case{seed}", "image": f"{seed}_ct.nii.gz", "label": f"{seed}_label.nii.gz"}


@pytest.fixture(scope="module")
def start_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Small weights that know a liver and a spleen by name."""
    path = tmp_path_factory.mktemp("start") / "start.safetensors"
    save_checkpoint(path, seeded_network(NETWORK, 5), NETWORK, metadata={"title": "start"})
    return path


@pytest.fixture(scope="module")
def phantoms(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A list with one phantom to train on and one to test on; label 7 is the heart, 9 something nobody maps."""
    folder = tmp_path_factory.mktemp("cases")
    entries = [save_phantom(folder, seed, {115: 7, 5: 9}) for seed in range(2)]
    path = folder / "list.json"
    path.write_text(json.dumps({"training": entries[:1], "testing": entries[1:]}))
    return path


def cases(phantoms: Path, *texts: str) -> DataList:
    return read_datalist(phantoms, mapping=parse_mapping(list(texts) or ["7=140"], BASE))


def quick(start: Path, output: Path, **changes: object) -> FinetuneSettings:
    values = {"name": "taught", "output": output, "weights": str(start), "epochs": 1, "classes": {140: "heart mine"}}
    return FinetuneSettings(**{**values, "device": "cpu", "precision": "fp32", "augment": False, **changes})


def test_the_result_is_a_checkpoint_that_knows_the_old_classes_and_the_new_one(
    start_weights: Path, phantoms: Path, tmp_path: Path
) -> None:
    settings = quick(start_weights, tmp_path / "run", install=tmp_path / "models")
    report = finetune(cases(phantoms), settings)
    assert report.installed == tmp_path / "models" / "taught.safetensors"
    stored = read_checkpoint(report.installed)
    assert stored.settings is not None
    assert stored.settings.catalogue.resolve_many(["everything"]) == (1, 3, 140)
    assert stored.settings.catalogue[140].name == "heart mine"
    assert report.point_branch_unchanged
    assert report.measured_on == ("case1",)
    assert not report.measured_on_training
    assert report.before.automatic == {140: None}
    assert report.before.one_click == report.after.one_click
    assert set(report.after.others) <= {1, 3}
    assert len(list((tmp_path / "run" / "known").iterdir())) == 1
    plain = json.loads((tmp_path / "run" / "finetune.json").read_text())
    assert plain["before"]["automatic"] == {"heart mine": None}
    assert any("9" in note and "not mapped" in note for note in report.notes)
    assert any("one training case" in note for note in report.notes)


def test_a_class_that_the_start_weights_only_know_by_name_can_be_taught(
    start_weights: Path, phantoms: Path, tmp_path: Path
) -> None:
    report = finetune(cases(phantoms, "9=5"), quick(start_weights, tmp_path, classes={}, replay=False))
    assert report.before.automatic == {5: None}
    assert set(report.before.one_click) == set(report.after.automatic) == {5}
    stored = read_checkpoint(report.path)
    assert stored.settings is not None
    assert stored.settings.catalogue.resolve_many(["everything"]) == (1, 3, 5)


def test_the_new_weights_say_which_taught_classes_are_of_a_single_piece(
    start_weights: Path, phantoms: Path, tmp_path: Path
) -> None:
    for single in ((), (140,)):
        report = finetune(cases(phantoms), quick(start_weights, tmp_path / f"{single}", single_piece=single))
        stored = read_checkpoint(report.path).settings
        assert stored is not None
        assert stored.catalogue.single_piece == single


def test_what_is_not_taught_cannot_be_of_a_single_piece(start_weights: Path, phantoms: Path, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="Class 1 is said to be of a single piece, but is not taught"):
        finetune(cases(phantoms), quick(start_weights, tmp_path / "run", single_piece=(140, 1)))
    assert not (tmp_path / "run").exists()


def test_the_paper_s_way_changes_what_clicks_use_and_says_so(
    start_weights: Path, phantoms: Path, tmp_path: Path
) -> None:
    report = finetune(cases(phantoms), quick(start_weights, tmp_path, train="everything", replay=False))
    assert not report.point_branch_unchanged
    assert not (tmp_path / "known").exists()


def test_the_command_trains_prints_the_table_and_the_weights_are_listed(
    start_weights: Path, phantoms: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setenv("VISTA3D_MODELS", str(tmp_path / "models"))
    arguments = ["finetune", "--data", str(phantoms), "-o", str(tmp_path / "mine"), "--map", "7=140", "--quiet"]
    arguments += ["--class-name", "140=my heart", "-w", str(start_weights), "--epochs", "1", "--device", "cpu"]
    assert run([*arguments, "--single-piece", "no such heart"]) == 2
    assert "no such heart" in capsys.readouterr().err
    assert run([*arguments, "--single-piece", "my heart"]) == 0
    assert read_checkpoint(tmp_path / "mine" / "mine.safetensors").settings.catalogue.single_piece == (140,)
    printed = capsys.readouterr()
    assert "my heart" in printed.out
    assert "click branch is unchanged" in printed.err
    assert run(["weights", "list", "--json"]) == 0
    assert "mine" in [row["id"] for row in json.loads(capsys.readouterr().out)]


def test_another_fine_tuning_of_the_same_name_is_refused_and_the_first_result_stays(
    start_weights: Path, phantoms: Path, tmp_path: Path
) -> None:
    settings = quick(start_weights, tmp_path / "run", install=tmp_path / "models")
    first = finetune(cases(phantoms), settings)
    assert first.installed is not None
    before = first.installed.read_bytes()
    with pytest.raises(CheckpointError, match="another run: its label mapping") as caught:
        finetune(cases(phantoms, "9=140"), settings)
    assert str(tmp_path / "run") in caught.value.fix
    data = cases(phantoms)
    with pytest.raises(CheckpointError, match="SHA-256 of the cases"):
        finetune(replace(data, testing=data.training), settings)
    assert first.installed.read_bytes() == before
    again = finetune(data, settings)
    assert again.after == first.after
    assert first.installed.read_bytes() == before


def test_names_of_other_weights_are_refused(start_weights: Path, phantoms: Path, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="name of official weights"):
        quick(start_weights, tmp_path, name="vista3d-mini")
    models = tmp_path / "models"
    models.mkdir()
    for ending in ("safetensors", "pt"):
        taken = models / f"taught.{ending}"
        taken.write_bytes(b"somebody's")
        with pytest.raises(SettingsError, match=f"{taken.name} holds other weights"):
            finetune(cases(phantoms), quick(start_weights, tmp_path / "run", install=models))
        assert taken.read_bytes() == b"somebody's"
        taken.unlink()


def test_a_learning_rate_of_0_is_refused(start_weights: Path, phantoms: Path, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="learning rate"):
        finetune(cases(phantoms), quick(start_weights, tmp_path, learning_rate=0.0))


def test_an_optimiser_that_does_not_exist_is_refused_with_those_that_do(phantoms: Path, tmp_path: Path) -> None:
    arguments = ["finetune", "--data", str(phantoms), "-o", str(tmp_path / "mine"), "--map", "7=140", "--quiet"]
    with pytest.raises(SettingsError, match="'sgd'") as caught:
        quick(tmp_path, tmp_path, optimiser="sgd")
    assert "adamw, muon" in str(caught.value)
    assert run([*arguments, "--optimiser", "sgd"]) == 2
    assert not (tmp_path / "mine").exists()


def test_muon_takes_larger_steps_and_a_rate_that_was_given_stays(tmp_path: Path) -> None:
    assert quick(tmp_path, tmp_path).stage(48).learning_rate == 5e-5
    assert quick(tmp_path, tmp_path, optimiser="muon").stage(48).learning_rate == 2e-4
    assert quick(tmp_path, tmp_path, optimiser="muon", learning_rate=1e-3).stage(16).learning_rate == 1e-3


def test_a_class_that_only_the_held_back_fold_has_is_not_taken_for_taught(
    start_weights: Path, phantoms: Path, tmp_path: Path
) -> None:
    data = cases(phantoms, "7=140", "9=141")
    trained = replace(data.training[0], fold=0, annotated=(7,))
    folded = replace(data, training=(trained, replace(data.testing[0], fold=1)), testing=())
    report = finetune(folded, quick(start_weights, tmp_path, fold=1, replay=False))
    assert set(report.after.automatic) == {140}
    assert any("one training case" in note for note in report.notes)
    image = nibabel.load(trained.image)
    nibabel.save(nibabel.Nifti1Image(np.zeros(image.shape, np.uint8), image.affine), tmp_path / "empty.nii.gz")
    hidden = replace(folded, training=(replace(trained, label=tmp_path / "empty.nii.gz"), folded.training[1]))
    with pytest.raises(TrainingError, match="No training case shows"):
        finetune(hidden, quick(start_weights, tmp_path / "hidden", fold=1, replay=False))


def test_the_report_says_that_the_best_epoch_was_chosen_on_the_measured_cases(
    start_weights: Path, phantoms: Path, tmp_path: Path
) -> None:
    chosen, only = (
        finetune(cases(phantoms), quick(start_weights, tmp_path / name, replay=False, epochs=2, validate_every=every))
        for name, every in (("chosen", 1), ("only", 2))
    )
    assert any("best epoch was chosen" in note for note in chosen.notes)
    assert not any("best epoch was chosen" in note for note in only.notes)


def test_what_the_model_knows_is_asked_again_for_another_image_other_weights_or_other_classes(
    start_weights: Path, phantoms: Path, tmp_path: Path
) -> None:
    data, runtime = cases(phantoms), Runtime(device=torch.device("cpu"))
    case, other = data.training[0], replace(data.testing[0], id=data.training[0].id)
    models = [Model(seeded_network(NETWORK, seed), NETWORK, runtime) for seed in (5, 6)]
    asked = [([case, other], models[0], (1, 3)), ([case], models[1], (1, 3)), ([case], models[0], (1,))]
    labels = [c.pseudo_label for args in asked for c in with_answers(*args, tmp_path)]
    assert len(set(labels)) == 4
    (again,) = with_answers([replace(case, id="other name")], models[0], (1, 3), tmp_path)
    assert again.pseudo_label == labels[0]


def test_a_class_that_no_case_shows_stops_the_run(start_weights: Path, phantoms: Path, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="No training case shows the heart mine"):
        finetune(cases(phantoms, "8=140"), quick(start_weights, tmp_path))


def test_a_label_on_another_grid_is_named(start_weights: Path, phantoms: Path, tmp_path: Path) -> None:
    data = cases(phantoms)
    other = tmp_path / "label.nii.gz"
    nibabel.save(nibabel.Nifti1Image(np.ones((4, 5, 6), np.uint8), np.eye(4)), other)
    broken = replace(data, training=(replace(data.training[0], label=other),))
    with pytest.raises(ReadError, match="case0 has another grid"):
        finetune(broken, quick(start_weights, tmp_path))


def test_the_traps_of_the_mapping_are_told(phantoms: Path) -> None:
    data = cases(phantoms)
    for pairs, words in (
        (((7, 255),), "255"),
        (((7, 2),), "is a group"),
        (((7, 140), (9, 140)), "become one structure"),
    ):
        notes = check_cases(replace(data, mappings={"default": LabelMapping(pairs=pairs)}), ClassCatalogue.load())
        assert any(words in note for note in notes), notes


def test_a_full_disk_is_said_and_leaves_nothing_half_written(
    start_weights: Path, phantoms: Path, tmp_path: Path
) -> None:
    models = tmp_path / "models"
    with small_disk(tmp_path / "disk", "300k") as place:
        settings = quick(start_weights, place / "run", install=models)
        with pytest.raises(OutputError, match=r"cannot be written: .*Free some space"):
            finetune(cases(phantoms), settings)
        assert not list(place.rglob("*.safetensors"))
        assert not list(place.rglob(".*"))
    assert not models.exists()


def test_names_and_ids_that_cannot_work_are_refused(start_weights: Path, phantoms: Path, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="no name for weights"):
        quick(start_weights, tmp_path, name="a/b")
    with pytest.raises(SettingsError, match="Class 700 is not in the model's table"):
        finetune(cases(phantoms, "7=700"), quick(start_weights, tmp_path))
    with pytest.raises(SettingsError, match="Class 141 is named but not in the mapping"):
        finetune(cases(phantoms), quick(start_weights, tmp_path, classes={141: "x"}))
    data = cases(phantoms)
    folded = replace(data, training=tuple(replace(c, fold=0) for c in data.training))
    with pytest.raises(ReadError, match="All cases are in fold"):
        finetune(folded, quick(start_weights, tmp_path, fold=0))
    with pytest.raises(ReadError, match="holds no training cases"):
        finetune(replace(data, training=()), quick(start_weights, tmp_path))
    for data in (cases(phantoms), folded):
        looked: list[Progress] = []
        with pytest.raises(SettingsError, match="has the fold 7"):
            finetune(data, quick(start_weights, tmp_path, fold=7), progress=looked.append)
        assert not looked, "the fold is checked before any image is read"
