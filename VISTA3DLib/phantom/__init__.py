"""A made-up, labelled CT of the torso: the sample of the product, and the base of tests and of training."""

from __future__ import annotations

from VISTA3DLib.phantom.labels import LABEL_NAMES
from VISTA3DLib.phantom.make import Phantom, make_phantom
from VISTA3DLib.phantom.settings import PhantomSettings

__all__ = ["LABEL_NAMES", "Phantom", "PhantomSettings", "make_phantom"]
