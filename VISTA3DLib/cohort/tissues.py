"""Which Hounsfield units a structure can have: the check that needs no other segmentation."""

from __future__ import annotations

from VISTA3DLib.classes import ClassCatalogue
from VISTA3DLib.structure import normal_name

# Wide on purpose: with and without contrast, with noise, fat and calcifications in between. After the textbook values
# (air -1000, lung -900 to -500, fat -100, water 0, parenchyma 30 to 70, with contrast up to 200, arteries up to 500,
# trabecular bone 100 to 300, cortical bone up to 2000).
LUNG = (-1024.0, -200.0)
AIRWAY = (-1024.0, -400.0)
GAS_AND_SOFT = (-1024.0, 400.0)
SOFT = (-120.0, 300.0)
VESSEL = (-60.0, 800.0)
BONE = (0.0, 2500.0)

_BY_NAME = (("lung", LUNG), ("trachea", AIRWAY), ("airway", AIRWAY))
_HOLLOW = ("stomach", "duodenum", "small bowel", "colon", "rectum", "esophagus", "bowel")


def possible_hu(class_id: int, catalogue: ClassCatalogue) -> tuple[float, float] | None:
    """The lowest and highest HU that most voxels of a class have; None where that cannot be said.

    Nothing is said of lesions (a lung tumour is dense, a cyst is not) and of classes that the catalogue has in none of
    its sets.
    """
    if class_id not in catalogue:
        return None
    name = normal_name(catalogue[class_id].name)
    sets = catalogue.sets
    if class_id in sets.get("lesions", ()) or "tumor" in name or "lesion" in name:
        return None
    for word, hu in _BY_NAME:
        if word in name:
            return hu
    if any(word in name for word in _HOLLOW):
        return GAS_AND_SOFT
    for key, hu in (("bones", BONE), ("vessels", VESSEL), ("muscles", SOFT), ("organs", SOFT)):
        if class_id in sets.get(key, ()):
            return hu
    return None
