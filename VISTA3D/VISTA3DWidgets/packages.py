"""The Python packages that the segmentation process needs in Slicer: which are missing, and installing them on request.

PyTorch comes through Slicer's PyTorch extension, which knows the build for the GPU; the rest through Slicer's own
package management. Nothing is installed unless a person asks for it.
"""

from __future__ import annotations

import importlib.util
import subprocess

from VISTA3DLib.errors import SettingsError

TORCH = ">=2.4"
# What the worker imports, by the name under which it is imported.
MODULES = ("torch", "monai", "safetensors", "huggingface_hub", "cc3d", "scipy", "skimage", "psutil")
OF_SLICER = ["torch", "numpy", "SimpleITK"]  # never replaced by an installation of ours


def missingPackages() -> list[str]:
    """The modules that Slicer's Python does not find, without importing any."""
    return [name for name in MODULES if importlib.util.find_spec(name) is None]


def installPackages(requirements: str) -> None:
    """Install what is missing, after asking. ``requirements`` is the path of the list.

    Raises ``SettingsError`` when the PyTorch extension is not installed, when the person declined, and when pip failed.
    """
    import slicer.packaging

    wanted = slicer.packaging.load_requirements(requirements)
    try:
        if importlib.util.find_spec("torch") is None:
            _installTorch()
        slicer.packaging.pip_ensure(wanted, requester="VISTA3D", skip_packages=OF_SLICER)
    except (RuntimeError, subprocess.CalledProcessError) as error:  # declined; pip failed
        raise SettingsError(
            f"The packages were not installed: {error}.", "Slicer's log says more. Press the button again to try again."
        ) from error
    importlib.invalidate_caches()


def _installTorch() -> None:
    if importlib.util.find_spec("PyTorchUtils") is None:
        raise SettingsError(
            "PyTorch is not installed, and Slicer's PyTorch extension, which installs it, is not there.",
            "Install the extension 'PyTorch' in the Extensions Manager, restart Slicer, and press the button again.",
        )
    import PyTorchUtils

    logic = PyTorchUtils.PyTorchUtilsLogic()
    if logic.installTorch(askConfirmation=True, torchVersionRequirement=TORCH) is None:
        raise SettingsError("PyTorch was not installed.", "Press the button again to try again.")
