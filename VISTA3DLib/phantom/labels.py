"""The VISTA3D classes that the phantom has, by id."""

from __future__ import annotations

HEPATIC_VESSEL = 25
HEPATIC_TUMOR = 26
LUNG_TUMOR = 23

VERTEBRAE = ("L5", "L4", "L3", "L2", "L1", *(f"T{number}" for number in range(12, 0, -1)))  # ids 33 to 49
LEFT_RIB_1, RIGHT_RIB_1 = 63, 75

_SINGLE = {
    1: "liver",
    3: "spleen",
    4: "pancreas",
    5: "right kidney",
    6: "aorta",
    7: "inferior vena cava",
    8: "right adrenal gland",
    9: "left adrenal gland",
    10: "gallbladder",
    11: "esophagus",
    12: "stomach",
    13: "duodenum",
    14: "left kidney",
    15: "bladder",
    17: "portal vein and splenic vein",
    19: "small bowel",
    LUNG_TUMOR: "lung tumor",
    HEPATIC_VESSEL: "hepatic vessel",
    HEPATIC_TUMOR: "hepatic tumor",
    28: "left lung upper lobe",
    29: "left lung lower lobe",
    30: "right lung upper lobe",
    31: "right lung middle lobe",
    32: "right lung lower lobe",
    57: "trachea",
    58: "left iliac artery",
    59: "right iliac artery",
    60: "left iliac vena",
    61: "right iliac vena",
    62: "colon",
    89: "left scapula",
    90: "right scapula",
    91: "left clavicula",
    92: "right clavicula",
    93: "left femur",
    94: "right femur",
    95: "left hip",
    96: "right hip",
    97: "sacrum",
    98: "left gluteus maximus",
    99: "right gluteus maximus",
    100: "left gluteus medius",
    101: "right gluteus medius",
    102: "left gluteus minimus",
    103: "right gluteus minimus",
    104: "left autochthon",
    105: "right autochthon",
    106: "left iliopsoas",
    107: "right iliopsoas",
    109: "brachiocephalic trunk",
    110: "left brachiocephalic vein",
    111: "right brachiocephalic vein",
    112: "left common carotid artery",
    113: "right common carotid artery",
    114: "costal cartilages",
    115: "heart",
    118: "prostate",
    119: "pulmonary vein",
    121: "spinal cord",
    122: "sternum",
    123: "left subclavian artery",
    124: "right subclavian artery",
    125: "superior vena cava",
}

LABEL_NAMES: dict[int, str] = dict(
    sorted(
        {
            **_SINGLE,
            **{33 + index: f"vertebrae {name}" for index, name in enumerate(VERTEBRAE)},
            **{LEFT_RIB_1 + index: f"left rib {index + 1}" for index in range(12)},
            **{RIGHT_RIB_1 + index: f"right rib {index + 1}" for index in range(12)},
        }.items()
    )
)
