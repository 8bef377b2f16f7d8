"""Putting a training run together from its settings: data, network, validation, loop."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from monai.networks.nets.vista3d import VISTA3D

from VISTA3DLib.classes import ClassCatalogue
from VISTA3DLib.devices import choose_runtime
from VISTA3DLib.errors import SettingsError, TrainingError
from VISTA3DLib.loading import load_weights
from VISTA3DLib.network import seeded_network
from VISTA3DLib.progress import Cancel, ProgressCallback
from VISTA3DLib.settings import NetworkSettings
from VISTA3DLib.training.catalogue import trained_catalogue
from VISTA3DLib.training.datalist import DataList, read_datalist
from VISTA3DLib.training.distributed import joined_world
from VISTA3DLib.training.phantom_cases import DATASET, phantom_mapping, write_phantom_cases
from VISTA3DLib.training.point_start import start_point_head
from VISTA3DLib.training.settings import TrainingSettings
from VISTA3DLib.training.trainer import Trainer, cases_for
from VISTA3DLib.training.validation import DiceValidator


def train(
    settings: TrainingSettings, *, progress: ProgressCallback | None = None, cancel: Cancel | None = None
) -> Path:
    """Run a training configuration; returns the path of the best weights. Resumes what was interrupted.

    Raises ``TrainingError`` if a stage has no case to learn from, and what ``Trainer.run`` and ``read_datalist`` raise.
    """
    with joined_world() as world:
        runtime = choose_runtime(settings.device, settings.precision)
        data = with_phantoms(read_datalist(settings.data), settings, progress, cancel)
        _check_stages(settings, data)
        network, network_settings = start_network(settings, data)
        held_back = data.split(settings.fold)[1]
        validate = DiceValidator(held_back, data, network_settings, runtime) if held_back and world.leads else None
        trainer = Trainer(
            network,
            network_settings,
            settings,
            data,
            runtime,
            world=world,
            validate=validate,
            progress=progress,
            cancel=cancel,
        )
        return trainer.run()


def _check_stages(settings: TrainingSettings, data: DataList) -> None:
    for stage in settings.stages:
        if not cases_for(stage, data, settings.fold):
            needed = "a label, a pseudo_label or label_sv" if stage.unlabelled else "a label"
            raise TrainingError(
                f"{data.name} has no training case for the stage {stage.name}.",
                f"Under 'training' at least one case needs {needed}, and must not be held back.",
            )


def with_phantoms(
    data: DataList, settings: TrainingSettings, progress: ProgressCallback | None, cancel: Cancel | None
) -> DataList:
    """The data list with the synthetic cases that the settings ask for."""
    if not settings.phantoms:
        return data
    folder = (settings.cache or settings.output) / "phantoms"
    spacing = settings.network.get("spacing") or (3.0,)
    cases = write_phantom_cases(folder, settings.phantoms, spacing=float(spacing[0]), progress=progress, cancel=cancel)
    mapping = phantom_mapping()
    # A phantom is labelled completely: no other class that the list teaches is in it.
    taught = trained_ids(data, settings.fold)
    others = tuple(i for i in taught if i not in mapping.to_global and i not in settings.point_only)
    complete = tuple(replace(c, absent=others) for c in cases)
    return replace(data, training=(*data.training, *complete), mappings={**data.mappings, DATASET: mapping})


def start_network(settings: TrainingSettings, data: DataList) -> tuple[VISTA3D, NetworkSettings]:
    """The network to begin with, and its settings with the catalogue that it will have after training."""
    trained = [i for i in trained_ids(data, settings.fold) if i not in settings.point_only]
    if settings.start is not None:
        network, found = load_weights(settings.start)
        catalogue = trained_catalogue(found.catalogue, trained, settings.classes, keep_base=True)
        if settings.new_point_head:
            network.point_head = seeded_network(found, settings.seed).point_head
            start_point_head(network)
        return network, replace(found, catalogue=_with_choices(catalogue, settings))
    catalogue = trained_catalogue(ClassCatalogue.load(), trained, settings.classes)
    plain: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in settings.network.items()}
    try:
        network_settings = NetworkSettings(catalogue=_with_choices(catalogue, settings), **plain)
    except TypeError as error:
        known = ", ".join(f.name for f in fields(NetworkSettings) if f.name != "catalogue")
        raise SettingsError(
            f"The configuration's network has a field that does not fit: {error}.", f"Fields are: {known}."
        ) from error
    network = seeded_network(network_settings, settings.seed)
    if settings.new_point_head:
        start_point_head(network)
    return network, network_settings


def _with_choices(catalogue: ClassCatalogue, settings: TrainingSettings) -> ClassCatalogue:
    """The catalogue with the sets and the classes of a single piece that the configuration names."""
    single = tuple(sorted({*catalogue.single_piece, *settings.single_piece}))
    return replace(catalogue, sets={**catalogue.sets, **settings.sets}, single_piece=single)


def trained_ids(data: DataList, fold: int | None = None) -> tuple[int, ...]:
    """Every class id that some training case was annotated for, in order; ``fold`` is held back and does not count."""
    return tuple(sorted({i for c in data.split(fold)[0] for i in data.annotated_ids_of(c)}))
