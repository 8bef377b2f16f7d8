"""Data lists, label mappings, configurations: what is read, what is refused, what is warned about."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import nibabel
import numpy as np
import pytest
import yaml

from VISTA3DLib.classes import ClassCatalogue
from VISTA3DLib.errors import ClassError, ReadError, SettingsError
from VISTA3DLib.settings import NetworkSettings
from VISTA3DLib.structure import ClassStatus
from VISTA3DLib.training.catalogue import trained_catalogue
from VISTA3DLib.training.datalist import (
    LabelMapping,
    mapping_warnings,
    parse_mapping,
    read_datalist,
)
from VISTA3DLib.training.patches import PatchSource, map_labels
from VISTA3DLib.training.run import trained_ids
from VISTA3DLib.training.settings import STAGES, read_training_settings
from VISTA3DLib.training.steps import patch_objects

CATALOGUE = ClassCatalogue.load()


def write(folder: Path, document: object) -> Path:
    path = folder / "list.json"
    path.write_text(json.dumps(document))
    return path


def save(path: Path, array: np.ndarray, spacing: float = 3.0) -> None:
    nibabel.save(nibabel.Nifti1Image(array, np.diag([spacing, spacing, spacing, 1.0])), path)


@pytest.fixture
def a_folder(tmp_path: Path) -> Path:
    """Two cases: a labelled one and one with supervoxels only."""
    rng = np.random.default_rng(0)
    for name in "ab":
        save(tmp_path / f"{name}.nii.gz", rng.integers(-500, 500, (24, 22, 20), dtype=np.int16))
    label = np.zeros((24, 22, 20), dtype=np.uint8)
    label[4:12, 4:12, 4:12], label[14:20, 14:20, 14:20] = 7, 9
    save(tmp_path / "a_label.nii.gz", label)
    save(tmp_path / "b_sv.nii.gz", np.ones((24, 22, 20), dtype=np.int16))
    return tmp_path


def a_list(folder: Path, **changes: object) -> Path:
    document = {
        "name": "two",
        "label_mapping": [[7, 1], [9, 3]],
        "training": [
            {"image": "a.nii.gz", "label": "a_label.nii.gz", "fold": 0},
            {"image": "b.nii.gz", "label_sv": "b_sv.nii.gz", "fold": 1},
        ],
    }
    return write(folder, {**document, **changes})


def test_paths_are_relative_to_the_list_and_cases_take_their_names(a_folder: Path) -> None:
    data = read_datalist(a_list(a_folder))
    assert [c.id for c in data.training] == ["a", "b"]
    assert data.training[0].label == a_folder / "a_label.nii.gz"
    assert data.class_ids_of(data.training[0]) == (1, 3)
    assert data.class_ids_of(data.training[1]) == ()


def test_a_case_says_which_labels_it_was_annotated_for(a_folder: Path) -> None:
    entries = [{"image": "a.nii.gz", "label": "a_label.nii.gz", "annotated": [9]}]
    data = read_datalist(a_list(a_folder, training=entries))
    assert data.class_ids_of(data.training[0]) == (3,)


def test_what_only_held_back_cases_show_is_not_taught(a_folder: Path) -> None:
    labelled = {"image": "a.nii.gz", "label": "a_label.nii.gz"}
    entries = [{**labelled, "annotated": [9], "fold": 0}, {**labelled, "id": "b", "annotated": [7], "fold": 1}]
    data = read_datalist(a_list(a_folder, training=entries))
    assert trained_ids(data) == (1, 3)
    assert trained_ids(data, fold=0) == (1,)


def test_what_cannot_be_in_a_case_is_asked_for_but_never_taught_as_a_class(a_folder: Path) -> None:
    of_case = [
        {"image": "a.nii.gz", "label": "a_label.nii.gz", "absent": [5, 14]},
        {"image": "b.nii.gz", "label_sv": "b_sv.nii.gz"},
    ]
    data = read_datalist(a_list(a_folder, training=of_case))
    assert data.class_ids_of(data.training[0]) == (1, 3, 5, 14)
    assert data.class_ids_of(data.training[1]) == ()
    assert trained_ids(data) == (1, 3)

    labelled = {"image": "a.nii.gz", "label": "a_label.nii.gz"}
    entries = [labelled, {**labelled, "dataset": "head", "absent": [14]}, of_case[1]]
    data = read_datalist(a_list(a_folder, training=entries, absent={"head": [5, 14]}))
    assert [data.class_ids_of(c) for c in data.training] == [(1, 3), (1, 3, 5, 14), ()]
    data = read_datalist(a_list(a_folder, training=entries[:1], absent=[5]))
    assert data.class_ids_of(data.training[0]) == (1, 3, 5)


def test_an_absent_class_is_a_prompt_whose_answer_is_nothing(a_folder: Path) -> None:
    entries = [{"image": "a.nii.gz", "label": "a_label.nii.gz", "absent": [5]}]
    data = read_datalist(a_list(a_folder, training=entries))
    settings = NetworkSettings(spacing=(3.0, 3.0, 3.0), window=(16, 16, 16))
    patch = PatchSource(data.training, data, settings, augment=False).patches(0, 0)[0]
    stage = replace(STAGES["automatic"], max_backprompt=None)
    objects = {o.class_id: o for o in patch_objects(patch, CATALOGUE, stage, np.random.default_rng(0))}
    assert 5 in objects
    assert not objects[5].target.any()


def test_a_label_that_shows_an_absent_class_is_refused(a_folder: Path) -> None:
    entries = [{"image": "a.nii.gz", "label": "a_label.nii.gz", "annotated": [9], "absent": [1]}]
    data = read_datalist(a_list(a_folder, training=entries))
    settings = NetworkSettings(spacing=(3.0, 3.0, 3.0), window=(16, 16, 16))
    with pytest.raises(ReadError, match="Class 1 is said to be absent from case a"):
        PatchSource(data.training, data, settings)


def test_data_sets_have_mappings_of_their_own(a_folder: Path) -> None:
    entries = [
        {"image": "a.nii.gz", "label": "a_label.nii.gz", "dataset": "x"},
        {"image": "a.nii.gz", "label": "a_label.nii.gz"},
    ]
    data = read_datalist(a_list(a_folder, training=entries, label_mapping={"x": [[7, 5]], "default": [[7, 14]]}))
    assert [data.class_ids_of(c) for c in data.training] == [(5,), (14,)]


def test_a_fold_is_held_back(a_folder: Path) -> None:
    data = read_datalist(a_list(a_folder))
    train, held = data.split(1)
    assert [c.id for c in train] == ["a"]
    assert [c.id for c in held] == ["b"]
    assert len(data.split(None)[0]) == 2


def test_the_digest_changes_with_what_the_list_says(a_folder: Path) -> None:
    before = read_datalist(a_list(a_folder)).digest
    assert read_datalist(a_list(a_folder)).digest == before
    assert read_datalist(a_list(a_folder, label_mapping=[[7, 1], [9, 4]])).digest != before
    assert read_datalist(a_list(a_folder, absent=[5])).digest not in (
        before,
        read_datalist(a_list(a_folder, absent=[6])).digest,
    )


def test_the_digest_of_a_list_without_absent_classes_stays_what_it_was(a_folder: Path) -> None:
    assert read_datalist(a_list(a_folder)).digest == "c5e65c6a30fbf93ad5c26b0dcc617fa041397ece627ac5213da8e46560953a24"


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"training": []}, "no cases"),
        ({"testing": None}, "no cases"),
        ({"training": [{"image": "a.nii.gz", "fold": "one"}]}, "fold .* no whole number: 'one'"),
        ({"training": [{"image": "a.nii.gz", "fold": 1.5}]}, "no whole number"),
        ({"training": [{"image": "a.nii.gz", "pseudo_label_reliability": [1]}]}, "pseudo_label_reliability"),
        ({"training": [{"image": "a.nii.gz", "annotated": "12"}]}, "no list of label values"),
        ({"training": [{"image": "a.nii.gz", "annotated": [1, "liver"]}]}, "no list of label values"),
        ({"training": [{"label": "a_label.nii.gz"}]}, "no image"),
        ({"training": [{"image": "z.nii.gz"}]}, r"z\.nii\.gz"),
        ({"training": 5}, "training"),
        ({"label_mapping": 5}, "label_mapping"),
        ({"label_mapping": [[1]]}, "label_mapping"),
        ({"label_mapping": {}}, "no label mapping"),
        ({"label_mapping": [[7, 1], [7, 2]]}, "twice"),
        ({"label_mapping": [[0, 1]]}, "background"),
        ({"absent": 5}, "neither a list nor an object"),
        ({"absent": ["liver"]}, "no list of class ids"),
        ({"absent": {"default": [0]}}, "no list of class ids"),
        ({"absent": [3]}, "Class 3 is annotated in case a"),
        ({"training": [{"image": "b.nii.gz", "absent": [5]}]}, "no label"),
    ],
)
def test_wrong_lists_are_refused_with_the_way_out(a_folder: Path, changes: dict, text: str) -> None:
    with pytest.raises((ReadError, SettingsError), match=text) as caught:
        read_datalist(a_list(a_folder, **changes))
    assert caught.value.fix


def test_numbers_are_read_as_other_programs_write_them(a_folder: Path) -> None:
    entry = {"image": "a.nii.gz", "label": "a_label.nii.gz", "fold": "2", "annotated": [7.0, "9"]}
    (case,) = read_datalist(a_list(a_folder, training=[entry])).training
    assert (case.fold, case.annotated) == (2, (7, 9))


def test_a_list_with_a_byte_order_mark_is_read(a_folder: Path) -> None:
    path = a_list(a_folder)
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert [c.id for c in read_datalist(path).training] == ["a", "b"]


def test_a_ct_in_place_of_the_list_is_called_that(a_folder: Path) -> None:
    with pytest.raises(ReadError, match="no text") as caught:
        read_datalist(a_folder / "a.nii.gz")
    assert "not a CT" in caught.value.fix


@pytest.mark.parametrize("content", ["", "{", "[1]", "[" * 100_000])
def test_files_that_are_no_list_are_refused(tmp_path: Path, content: str) -> None:
    path = tmp_path / "list.json"
    path.write_text(content)
    with pytest.raises(ReadError, match=r"list\.json"):
        read_datalist(path)
    with pytest.raises(ReadError, match="cannot be read"):
        read_datalist(tmp_path / "none.json")


def test_mappings_are_written_with_ids_or_names() -> None:
    mapping = parse_mapping(["1=liver", "2= 14", "3=140"], CATALOGUE)
    assert mapping.pairs == ((1, 1), (2, 14), (3, 140))
    for text in ("liver", "x=1", "1="):
        with pytest.raises(SettingsError):
            parse_mapping([text], CATALOGUE)
    with pytest.raises(ClassError):
        parse_mapping(["1=livr"], CATALOGUE)


def test_the_known_traps_are_warned_about() -> None:
    mapping = LabelMapping(pairs=((1, 0), (2, 255), (3, 21), (4, 1), (5, 1), (6, 999)))
    text = " ".join(mapping_warnings(mapping, CATALOGUE))
    for part in ("class 0", "255", "group", "[4, 5]", "999"):
        assert part in text
    assert mapping_warnings(LabelMapping(pairs=((1, 1), (2, 140))), CATALOGUE) == ()


def test_unmapped_values_become_background() -> None:
    labels = np.array([[[-1, 0, 7, 9, 300]]])
    assert map_labels(labels, {7: 1, 300: 140}).tolist() == [[[0, 0, 1, 0, 140]]]


def test_patches_are_the_same_for_the_same_epoch_and_differ_between_epochs(a_folder: Path) -> None:
    data = read_datalist(a_list(a_folder))
    settings = NetworkSettings(filters=8, blocks_down=(1, 1), window=(16, 16, 16), spacing=(3, 3, 3))

    def images(seed: int, epoch: int, index: int) -> list:
        source = PatchSource(data.training, data, settings, seed=seed)
        source.patches(1 - index, 3)  # what was drawn before does not matter
        return [p.image.numpy() for p in source.patches(index, epoch)]

    for index in (0, 1):
        assert all(np.array_equal(a, b) for a, b in zip(images(0, 5, index), images(0, 5, index), strict=True))
        assert not all(np.array_equal(a, b) for a, b in zip(images(0, 5, index), images(0, 6, index), strict=True))


def test_patches_carry_what_is_known_about_their_case(a_folder: Path) -> None:
    data = read_datalist(a_list(a_folder))
    settings = NetworkSettings(filters=8, blocks_down=(1, 1), window=(16, 16, 16), spacing=(3, 3, 3))
    source = PatchSource(data.training, data, settings, augment=False, cache=a_folder / "cache")
    labelled, plain = source.patches(0, 0)[0], source.patches(1, 0)[0]
    assert labelled.image.shape == (1, 16, 16, 16)
    assert labelled.label is not None
    assert set(labelled.label.unique().tolist()) <= {0, 1, 3}
    assert labelled.class_ids == (1, 3)
    assert plain.label is None
    assert plain.supervoxels is not None
    assert 0 <= float(labelled.image.min()) <= float(labelled.image.max()) <= 1


def test_a_label_on_another_grid_is_refused_with_both(a_folder: Path) -> None:
    save(a_folder / "a_label.nii.gz", np.ones((24, 22, 20), dtype=np.uint8), spacing=2.0)
    data = read_datalist(a_list(a_folder))
    settings = NetworkSettings(filters=8, blocks_down=(1, 1), window=(16, 16, 16), spacing=(3, 3, 3))
    with pytest.raises(ReadError, match="another grid"):
        PatchSource(data.training, data, settings).patches(0, 0)


def test_trained_catalogues_name_new_classes_and_hide_what_was_not_trained() -> None:
    made = trained_catalogue(CATALOGUE, [1, 121, 140, 141], {140: "mouse tail"})
    assert made[140].name == "mouse tail"
    assert made[141].name == "class 141"
    assert made.resolve_many(["everything"]) == (1, 121, 140, 141)
    assert made[3].status is ClassStatus.UNSUPPORTED
    kept = trained_catalogue(CATALOGUE, [18, 140], {140: "left parotid gland"}, keep_base=True)
    assert kept[3].status is ClassStatus.SUPPORTED
    assert kept[18].status is ClassStatus.SUPPORTED
    assert kept[140].terminology.type.meaning != "Anatomical Structure"
    with pytest.raises(ClassError, match="spleen"):
        trained_catalogue(CATALOGUE, [3], {3: "milt"})
    same = trained_catalogue(CATALOGUE, [3], {3: CATALOGUE[3].name})  # weights that were taught it are taught again
    assert same[3].name == CATALOGUE[3].name


def test_a_configuration_changes_the_papers_stages(tmp_path: Path) -> None:
    path = tmp_path / "train.yaml"
    stages = ["point", {"use": "automatic", "epochs": 3, "freeze": "none"}]
    document = {"name": "x", "data": "list.json", "output": "out", "stages": stages, "classes": {140: "tail"}}
    path.write_text(yaml.safe_dump(document))
    settings = read_training_settings(path)
    assert settings.stages[0] == STAGES["point"]
    assert (settings.stages[1].epochs, settings.stages[1].freeze) == (3, "none")
    assert settings.data == tmp_path / "list.json"
    assert settings.classes == {140: "tail"}


@pytest.mark.parametrize(
    ("document", "text"),
    [
        ({"name": "x", "data": "d", "output": "o", "stages": ["fast"]}, "fast"),
        ({"name": "x", "data": "d", "output": "o", "stages": [{"use": "point", "lr": 1}]}, "lr"),
        ({"name": "x", "data": "d", "output": "o", "stages": [{"use": "point", "epochs": 0}]}, "epochs"),
        ({"name": "x", "data": "d", "output": "o", "stages": [{"use": "point", "drop_point_prob": 1.0}]}, "nothing"),
        ({"name": "x", "data": "d", "output": "o", "stages": [{"use": "joint", "absent_weight": 0.5}]}, "0.5"),
        ({"name": "x", "data": "d", "output": "o", "stages": [{"use": "joint", "background_crops": 1.0}]}, "1.0"),
        ({"name": "x", "data": "d", "output": "o", "stages": []}, "no stages"),
        ({"name": "x", "data": "d", "output": "o", "stages": ["point"], "sets": {"mine": 3}}, "another form"),
        ({"name": "x", "data": "d", "output": "o", "stages": ["point"], "single_piece": ["jaw"]}, "another form"),
        ({"name": "x", "data": "d", "output": "o", "stages": [{"use": "point", "epochs": "many"}]}, "epochs is 'many'"),
        ({"name": "x", "stages": ["point"]}, "lacks data"),
        ({"name": "x", "data": "d", "output": "o", "stages": ["point"], "speed": 9}, "speed"),
    ],
)
def test_wrong_configurations_are_refused(tmp_path: Path, document: dict, text: str) -> None:
    path = tmp_path / "train.yaml"
    path.write_text(yaml.safe_dump(document))
    with pytest.raises(SettingsError, match=text):
        read_training_settings(path)


@pytest.mark.parametrize(
    ("content", "text"), [(b"", "is empty"), (b"just words", "no fields"), (b"\xff\xfe\x00", "no text")]
)
def test_what_is_no_configuration_is_named_as_what_it_is(tmp_path: Path, content: bytes, text: str) -> None:
    path = tmp_path / "train.yaml"
    path.write_bytes(content)
    with pytest.raises(ReadError, match=text):
        read_training_settings(path)
