"""VISTA3D: automatic and click-to-segment CT segmentation.

Importing this package does not import torch. The light half (classes, geometry, volumes, prompts, results, settings,
the catalogue of weights) needs numpy only; the torch half (``session``, ``network``, ...) is imported by name.
"""

__version__ = "0.1.0"
