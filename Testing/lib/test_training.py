"""Training end to end on small phantoms: it learns, resumes, keeps frozen what is frozen, repeats itself exactly."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import nibabel
import numpy as np
import pytest
import torch
from test_files_maker import small_disk

from VISTA3DLib.checkpoint import load_network, read_checkpoint
from VISTA3DLib.classes import ClassCatalogue
from VISTA3DLib.devices import Runtime
from VISTA3DLib.errors import CancelledError, CheckpointError, OutputError, SettingsError, TrainingError
from VISTA3DLib.network import seeded_network
from VISTA3DLib.phantom import PhantomSettings, make_phantom
from VISTA3DLib.progress import Cancel, Progress
from VISTA3DLib.settings import NetworkSettings
from VISTA3DLib.training.datalist import DataList, LabelMapping, read_datalist
from VISTA3DLib.training.run import start_network, train, with_phantoms
from VISTA3DLib.training.settings import STAGES, OptimiserKind, StageSettings, TrainingSettings
from VISTA3DLib.training.steps import ask
from VISTA3DLib.training.trainer import LAST, STATE, Trainer, freeze_branches
from VISTA3DLib.training.validation import DiceValidator

CLASSES = (1, 3, 115)  # liver, spleen, heart
NETWORK = {"filters": 8, "blocks_down": [1, 1, 1], "window": [32, 32, 32], "spacing": [8.0, 8.0, 8.0]}
QUICK = replace(STAGES["automatic-finetune"], freeze="none", learning_rate=3e-3, max_backprompt=1)


@pytest.fixture(scope="module")
def a_datalist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four coarse phantoms; the last is held back."""
    folder = tmp_path_factory.mktemp("data")
    entries = []
    for n in range(4):
        phantom = make_phantom(PhantomSettings(seed=n, spacing=(8.0, 8.0, 8.0), variation=0.3, contrast=0.8))
        labels = np.where(np.isin(phantom.labels, CLASSES), phantom.labels, 0).astype(np.uint8)
        nibabel.save(nibabel.Nifti1Image(phantom.array, phantom.affine), folder / f"{n}_ct.nii.gz")
        nibabel.save(nibabel.Nifti1Image(labels, phantom.affine), folder / f"{n}_label.nii.gz")
        entries.append({"image": f"{n}_ct.nii.gz", "label": f"{n}_label.nii.gz", "fold": int(n == 3)})
    mapping = [[c, c] for c in CLASSES]
    path = folder / "list.json"
    path.write_text(json.dumps({"name": "phantoms", "training": entries, "label_mapping": mapping}))
    return path


def settings_for(a_datalist: Path, output: Path, *stages: StageSettings, **changes: object) -> TrainingSettings:
    values: dict = {"name": "test", "data": a_datalist, "output": output, "stages": stages, "network": NETWORK}
    fixed = {"fold": 1, "device": "cpu", "precision": "fp32", "augment": False}
    return TrainingSettings(**{**values, **fixed, **changes})


def a_trainer(settings: TrainingSettings, **options: object) -> Trainer:
    data = read_datalist(settings.data)
    network, network_settings = start_network(settings, data)
    return Trainer(network, network_settings, settings, data, Runtime(device=torch.device("cpu")), **options)


def same_parameters(a: torch.nn.Module, b: torch.nn.Module) -> list[str]:
    other = dict(b.named_parameters())
    return [n for n, p in a.named_parameters() if torch.equal(p, other[n])]


def test_the_same_seed_gives_the_same_losses_and_another_seed_does_not(a_datalist: Path, tmp_path: Path) -> None:
    losses = []
    for run, seed in enumerate((0, 0, 1)):
        stages = (replace(STAGES["point"], epochs=1, iterations=2), replace(QUICK, epochs=1))
        trainer = a_trainer(settings_for(a_datalist, tmp_path / str(run), *stages, seed=seed, augment=True))
        trainer.run()
        losses.append([r.loss for r in trainer._history.records])
    assert losses[0] == losses[1]
    assert losses[0] != losses[2]


@pytest.mark.parametrize(("optimiser", "mean_decay"), [("adamw", 0.0), ("muon", 0.0), ("muon", 0.9)])
def test_a_run_that_was_interrupted_ends_like_one_that_was_not(
    a_datalist: Path, tmp_path: Path, optimiser: OptimiserKind, mean_decay: float
) -> None:
    last = replace(QUICK, epochs=2, optimiser=optimiser, mean_decay=mean_decay)
    stages = (replace(STAGES["point"], epochs=2, iterations=1), last)
    whole = a_trainer(settings_for(a_datalist, tmp_path / "whole", *stages))
    whole.run()
    cancel, steps = Cancel(), [0]

    def watch(report: object) -> None:
        steps[0] += 1
        if steps[0] == 6:  # in the middle of the second epoch
            cancel.cancel()

    broken = settings_for(a_datalist, tmp_path / "broken", *stages)
    with pytest.raises(CancelledError):
        a_trainer(broken, progress=watch, cancel=cancel).run()
    again = a_trainer(broken)
    again.run()
    assert [r.loss for r in again._history.records] == [r.loss for r in whole._history.records]
    assert len(same_parameters(again.network, whole.network)) == len(list(whole.network.named_parameters()))


def test_a_full_disk_keeps_the_last_epoch_and_the_run_goes_on_when_there_is_room(
    a_datalist: Path, tmp_path: Path
) -> None:
    stage = replace(QUICK, epochs=3, patches_per_case=1)
    whole = a_trainer(settings_for(a_datalist, tmp_path / "whole", stage))
    whole.run()
    with small_disk(tmp_path / "disk", "64m") as place:
        settings, filler = settings_for(a_datalist, place / "run", stage), place / "filler"

        def fill(report: Progress) -> None:
            if report.values.get("epoch") == 1 and not filler.exists():
                filler.write_bytes(bytes(shutil.disk_usage(place).free - 50_000))

        with pytest.raises(OutputError, match=r"cannot be written: .*No space left.*Free some space"):
            a_trainer(settings, progress=fill).run()
        assert read_checkpoint(place / "run" / LAST).metadata["epoch"] == 1
        load_network(place / "run" / LAST)
        assert not [p for p in (place / "run").iterdir() if p.name.startswith(".")]
        filler.unlink()
        again = a_trainer(settings)
        again.run()
    assert [r.loss for r in again._history.records] == [r.loss for r in whole._history.records]


def test_a_run_that_died_between_its_weights_and_its_state_ends_like_one_that_did_not(
    a_datalist: Path, tmp_path: Path
) -> None:
    stage = replace(QUICK, epochs=2, patches_per_case=1)
    whole = a_trainer(settings_for(a_datalist, tmp_path / "whole", stage))
    whole.run()
    settings = settings_for(a_datalist, tmp_path / "broken", stage)
    first_epoch: list[bytes] = []

    def keep(report: Progress) -> None:
        if report.values.get("epoch") == 1 and not first_epoch:
            first_epoch.append((tmp_path / "broken" / STATE).read_bytes())

    a_trainer(settings, progress=keep).run()  # leaves the weights of epoch 2
    (tmp_path / "broken" / STATE).write_bytes(first_epoch[0])
    again = a_trainer(settings)
    again.run()
    assert len(same_parameters(again.network, whole.network)) == len(list(whole.network.named_parameters()))


def test_a_finished_run_is_not_trained_again(a_datalist: Path, tmp_path: Path) -> None:
    settings = settings_for(a_datalist, tmp_path, replace(QUICK, epochs=1))
    a_trainer(settings).run()
    before = (tmp_path / LAST).read_bytes()
    second = a_trainer(settings)
    second.run()
    assert (tmp_path / LAST).read_bytes() == before


def test_the_output_of_another_run_is_not_continued(a_datalist: Path, tmp_path: Path) -> None:
    settings = settings_for(a_datalist, tmp_path, replace(QUICK, epochs=1))
    a_trainer(settings).run()
    before = (tmp_path / LAST).read_bytes()
    other = {"seed": 1, "name": "other", "augment": True, "fold": 0, "stages": (replace(QUICK, epochs=2),)}
    for name, value in other.items():
        with pytest.raises(CheckpointError, match="belongs to another run: its") as caught:
            a_trainer(replace(settings, **{name: value})).run()
        assert str(tmp_path) in caught.value.fix
    with pytest.raises(CheckpointError, match="its epochs of stage 1 is 1, here it is 2"):
        a_trainer(replace(settings, stages=(replace(QUICK, epochs=2),))).run()
    start = tmp_path / "start.safetensors"
    shutil.copyfile(tmp_path / LAST, start)
    with pytest.raises(CheckpointError, match="start weights"):
        a_trainer(replace(settings, start=str(start))).run()
    assert (tmp_path / LAST).read_bytes() == before


def test_a_run_is_the_same_wherever_its_files_lie_and_another_with_other_cases(
    a_datalist: Path, tmp_path: Path
) -> None:
    settings = settings_for(a_datalist, tmp_path / "run", replace(QUICK, epochs=1))
    a_trainer(settings).run()
    moved = Path(shutil.copytree(a_datalist.parent, tmp_path / "moved")) / a_datalist.name
    a_trainer(replace(settings, data=moved, device="auto", cache=tmp_path / "cache")).check()
    document = json.loads(moved.read_text())
    mapping = {**document, "label_mapping": [[1, 1], [3, 115], [115, 3]]}
    fewer = {**document, "training": document["training"][1:]}
    for changed, named in ((mapping, "label mapping"), (fewer, "SHA-256 of the cases")):
        moved.write_text(json.dumps(changed))
        with pytest.raises(CheckpointError, match=named):
            a_trainer(replace(settings, data=moved)).run()
    moved.write_text(json.dumps(document))
    shutil.copyfile(moved.parent / "1_label.nii.gz", moved.parent / "0_label.nii.gz")
    with pytest.raises(CheckpointError, match="SHA-256 of the cases"):
        a_trainer(replace(settings, data=moved)).run()


def test_a_state_that_does_not_say_which_run_it_is_is_another_run_s(a_datalist: Path, tmp_path: Path) -> None:
    settings = settings_for(a_datalist, tmp_path, replace(QUICK, epochs=1))
    torch.save({"settings": repr(settings.stages), "stage": 0, "epoch": 1}, tmp_path / STATE)
    with pytest.raises(CheckpointError, match="not said"):
        a_trainer(settings).run()


@pytest.mark.parametrize(
    ("change", "stage"), [({"fold": 1}, "point-supervoxels"), ({"label": None, "fold": 0}, "by-labels")]
)
def test_a_stage_without_cases_stops_the_run_before_anything_is_trained(
    a_datalist: Path, tmp_path: Path, change: dict, stage: str
) -> None:
    document = json.loads(a_datalist.read_text())
    document["training"] = [{**e, "label_sv": e["label"], **change} for e in document["training"]]
    path = a_datalist.parent / "nothing.json"
    path.write_text(json.dumps(document))
    stages = (replace(STAGES["point-supervoxels"], epochs=1), replace(QUICK, name="by-labels"))
    with pytest.raises(TrainingError, match=f"no training case for the stage {stage}"):
        train(settings_for(path, tmp_path / "run", *stages, fold=change["fold"] or None))
    assert not (tmp_path / "run").exists()


def test_two_held_back_cases_with_one_id_are_both_looked_at(a_datalist: Path, tmp_path: Path) -> None:
    data = read_datalist(a_datalist)
    first, second = (replace(c, id="same") for c in data.training[:2])
    _, network_settings = start_network(settings_for(a_datalist, tmp_path, QUICK), data)
    validator = DiceValidator([first, second], data, network_settings, Runtime(device=torch.device("cpu")))
    volumes = [validator._load(case, data.mapping_of(case).to_global)[0] for case in (first, second)]
    assert not np.array_equal(volumes[0].array, volumes[1].array)


@pytest.mark.parametrize("mean_decay", [0.0, 0.9])
@pytest.mark.parametrize(
    ("stage", "frozen", "trained"),
    [
        (
            "automatic",
            ("image_encoder.encoder", "image_encoder.up_layers.", "point_head"),
            ("up_layers_auto", "class_head"),
        ),
        ("point", (), ("image_encoder.encoder", "image_encoder.up_layers.", "point_head")),
    ],
)
def test_frozen_parameters_do_not_change_and_the_others_do(
    a_datalist: Path, tmp_path: Path, stage: str, frozen: tuple[str, ...], trained: tuple[str, ...], mean_decay: float
) -> None:
    changed = replace(STAGES[stage], epochs=1, iterations=1, learning_rate=1e-3, mean_decay=mean_decay)
    settings = settings_for(a_datalist, tmp_path, changed)
    trainer = a_trainer(settings)
    before = seeded_network(trainer.network_settings, settings.seed)
    trainer.run()
    same = same_parameters(trainer.network, before)
    names = [n for n, _ in before.named_parameters()]
    for part in frozen:
        assert all(n in same for n in names if n.startswith(part))
    for part in trained:
        moved = [n for n in names if part in n and n not in same]
        assert moved, part


def test_freezing_is_undone_by_the_next_stage() -> None:
    network = seeded_network(NetworkSettings(filters=8, blocks_down=(1, 1), window=(16, 16, 16)), 0)
    for name, free in (("automatic", False), ("point", True), ("automatic", False)):
        freeze_branches(network, STAGES[name])
        assert network.image_encoder.encoder.conv_init.weight.requires_grad == free
        assert network.class_head.class_embeddings.weight.requires_grad
    freeze_branches(network, replace(STAGES["point"], freeze="automatic"))
    assert not network.class_head.class_embeddings.weight.requires_grad
    assert network.point_head.mask_tokens.weight.requires_grad


def test_a_loss_that_is_not_finite_stops_the_run_names_the_case_and_keeps_the_last_weights(
    a_datalist: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = settings_for(a_datalist, tmp_path, replace(QUICK, epochs=2))
    trainer = a_trainer(settings)
    calls = [0]

    def broken(network: torch.nn.Module, image: torch.Tensor, prompts: object) -> torch.Tensor:
        calls[0] += 1
        return ask(network, image, prompts) * (float("nan") if calls[0] > 8 else 1.0)

    monkeypatch.setattr("VISTA3DLib.training.steps.ask", broken)
    with pytest.raises(TrainingError, match=r"nan on case \d_ct"):
        trainer.run()
    network, _ = load_network(tmp_path / LAST)
    assert all(bool(torch.isfinite(p).all()) for p in network.parameters())


def test_checkpoints_say_what_they_are(a_datalist: Path, tmp_path: Path) -> None:
    settings = settings_for(a_datalist, tmp_path, replace(QUICK, epochs=1))
    a_trainer(settings, validate=lambda network, stage: {"liver": 0.5}).run()
    from VISTA3DLib.checkpoint import read_checkpoint

    stored = read_checkpoint(tmp_path / LAST)
    assert stored.settings is not None
    assert stored.settings.catalogue.sets["everything"] == CLASSES
    assert stored.metadata["dice"] == {"liver": 0.5}
    assert stored.metadata["data_list"]["sha256"] == read_datalist(a_datalist).digest
    assert (tmp_path / "history.csv").read_text().count("\n") == 2
    assert (tmp_path / "history.png").stat().st_size > 1000


def test_a_phantom_counts_as_free_of_every_class_that_it_does_not_have(a_datalist: Path, tmp_path: Path) -> None:
    case = read_datalist(a_datalist).training[0]
    head = DataList(
        name="head", training=(case,), mappings={"default": LabelMapping(pairs=((1, 121), (2, 134), (3, 138)))}
    )
    settings = settings_for(
        a_datalist, tmp_path, QUICK, fold=None, phantoms=1, network={"spacing": [24.0] * 3}, point_only=(138,)
    )
    phantom = with_phantoms(head, settings, None, None)
    ids = phantom.class_ids_of(phantom.training[-1])
    assert 134 in phantom.training[-1].absent
    assert 134 in ids  # asked for, and answered by nothing
    assert 121 in phantom.annotated_ids_of(phantom.training[-1])
    assert 138 not in ids  # a lesion that only points ask for


@pytest.mark.slow
def test_two_minutes_of_training_segment_a_person_never_seen(a_datalist: Path, tmp_path: Path) -> None:
    """From random weights: the loss falls, and the held-back phantom's organs are found."""
    stage = replace(QUICK, epochs=25, learning_rate=4e-3, patches_per_case=4, validate_every=25)
    settings = settings_for(a_datalist, tmp_path, stage)
    data = read_datalist(a_datalist)
    network, network_settings = start_network(settings, data)
    runtime = Runtime(device=torch.device("cpu"))
    validate = DiceValidator(data.split(1)[1], data, network_settings, runtime)
    before = float(np.mean(list(validate(network.eval(), stage).values())))
    trainer = Trainer(network, network_settings, settings, data, runtime, validate=validate)
    trainer.run()
    records = trainer._history.records
    assert records[-1].loss < 0.5 * records[0].loss
    assert records[-1].dice is not None
    assert records[-1].dice > max(0.6, before + 0.3)


def test_the_configuration_s_sets_and_single_pieces_are_the_weights(a_datalist: Path, tmp_path: Path) -> None:
    settings = settings_for(a_datalist, tmp_path, QUICK, sets={"two": (1, 3)}, single_piece=(1,))
    _, trained = start_network(settings, read_datalist(a_datalist))
    assert trained.catalogue.resolve_many(["two"]) == (1, 3)
    assert trained.catalogue.single_piece == (1,)


@pytest.mark.parametrize("wrong", [{"mirrored_click": True}, {"filters": "many"}, {"catalogue": {}}])
def test_a_network_field_that_does_not_fit_is_named_with_the_known_ones(
    a_datalist: Path, tmp_path: Path, wrong: dict[str, object]
) -> None:
    settings = settings_for(a_datalist, tmp_path, QUICK, network={**NETWORK, **wrong})
    with pytest.raises(SettingsError, match=rf"does not fit: .*{'|'.join(wrong)}|not supported.*Fields are: filters"):
        start_network(settings, read_datalist(a_datalist))


def test_trained_classes_are_the_supported_ones(a_datalist: Path, tmp_path: Path) -> None:
    _, settings = start_network(settings_for(a_datalist, tmp_path, QUICK), read_datalist(a_datalist))
    assert settings.catalogue.resolve_many(["everything"]) == CLASSES
    assert "kidney" not in {settings.catalogue[i].name for i in settings.catalogue.groups}
    assert ClassCatalogue.load()[5].id in settings.catalogue
