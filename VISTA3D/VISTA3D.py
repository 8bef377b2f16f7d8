"""VISTA3D for 3D Slicer: the four classes that Slicer looks for. What they do is in ``VISTA3DWidgets``."""

import importlib.util
import sys
import unittest
from pathlib import Path

import slicer
from slicer.i18n import tr as _
from slicer.i18n import translate
from slicer.ScriptedLoadableModule import (
    ScriptedLoadableModule,
    ScriptedLoadableModuleLogic,
    ScriptedLoadableModuleTest,
    ScriptedLoadableModuleWidget,
)

# In a checkout only this folder is on the module path, and the library lies beside it; installed, both are in one
# folder that Slicer puts on sys.path.
_CHECKOUT = Path(__file__).resolve().parent.parent
if importlib.util.find_spec("VISTA3DLib") is None and (_CHECKOUT / "VISTA3DLib" / "__init__.py").is_file():
    sys.path.append(str(_CHECKOUT))
_IN_SLICER = _CHECKOUT / "Testing" / "in_slicer"


class VISTA3D(ScriptedLoadableModule):
    """What Slicer shows about the module."""

    def __init__(self, parent):
        ScriptedLoadableModule.__init__(self, parent)
        self.parent.title = "VISTA3D"
        self.parent.categories = [translate("qSlicerAbstractCoreModule", "Segmentation")]
        self.parent.dependencies = []
        self.parent.contributors = ["The VISTA3D for 3D Slicer developers"]
        self.parent.helpText = _(
            "Segment CT images by clicking, or whole sets of structures automatically, with the VISTA3D network on "
            "this computer. Choose a CT, press Add (+) and click on a structure. For research, not for clinical use."
        )
        self.parent.acknowledgementText = _(
            "VISTA3D: He, Y., Guo, P., Tang, Y. et al., A Unified Segmentation Foundation Model For 3D Medical "
            "Imaging, CVPR 2025."
        )
        slicer.app.connect("startupCompleted()", self.registerSampleData)

    def registerSampleData(self):
        """Offer Slicer's CT samples in the Sample Data module under this module's name."""
        from VISTA3DWidgets.sampleData import registerSampleData

        registerSampleData(self.parent.title, Path(self.resourcePath("Icons/VISTA3D.png")))


class VISTA3DWidget(ScriptedLoadableModuleWidget):
    """The module's panel: loads the ``.ui`` file and hands it to ``VISTA3DWidgets.panel.Panel``."""

    def __init__(self, parent=None):
        self.panel = None
        self.logic = None
        ScriptedLoadableModuleWidget.__init__(self, parent)  # without a parent it calls ``setup``

    def setup(self):
        """Build the panel. Nothing is installed, loaded or started here."""
        ScriptedLoadableModuleWidget.setup(self)
        from VISTA3DWidgets.panel import Panel

        root = slicer.util.loadUI(self.resourcePath("UI/VISTA3D.ui"))
        self.layout.addWidget(root)
        root.setMRMLScene(slicer.mrmlScene)
        self.logic = VISTA3DLogic()
        self.panel = Panel(root, slicer.mrmlScene, self.logic, self.resourcePath)
        if getattr(self.parent, "isEntered", False):  # the module was reloaded while it was open
            self.panel.enter()

    def enter(self):
        """The module is opened: shortcuts work from now on."""
        if self.panel is not None:
            self.panel.enter()

    def exit(self):
        """Another module is opened: shortcuts and place mode end."""
        if self.panel is not None:
            self.panel.exit()

    def cleanup(self):
        """The panel goes away: end the worker, remove nodes, observers and files."""
        if self.panel is not None:
            self.panel.close()
            self.panel = None

    def onReload(self):
        """Reload the packages behind the panel too, then the module."""
        self.cleanup()
        ours = ("VISTA3DWidgets", "VISTA3DScene", "VISTA3DLib")
        for name in sorted((n for n in sys.modules if n.partition(".")[0] in ours), reverse=True):
            del sys.modules[name]
        ScriptedLoadableModuleWidget.onReload(self)


class VISTA3DLogic(ScriptedLoadableModuleLogic):
    """The parameter node: which CT, segmentation, region and structures were chosen is saved with the scene."""

    def __init__(self):
        ScriptedLoadableModuleLogic.__init__(self)


class VISTA3DTest(ScriptedLoadableModuleTest):
    """Builds the panel and closes the scene; with a checkout it runs ``Testing/in_slicer``, too."""

    def setUp(self):
        slicer.mrmlScene.Clear(0)

    def runTest(self):
        self.setUp()
        self.test_panelSurvivesSceneClose()
        if _IN_SLICER.is_dir():
            self.test_checkout()

    def test_checkout(self):
        if not _IN_SLICER.is_dir():
            self.skipTest("an installed extension has no tests but these")
        sys.path.insert(0, str(_IN_SLICER))
        try:
            suite = unittest.TestLoader().discover(str(_IN_SLICER), pattern="test_*.py")
            result = unittest.TextTestRunner(verbosity=2).run(suite)
        finally:
            sys.path.remove(str(_IN_SLICER))
        assert result.testsRun, "no test was found"
        assert result.wasSuccessful(), f"{len(result.failures)} failures, {len(result.errors)} errors"

    def test_panelSurvivesSceneClose(self):
        widget = slicer.util.getModuleWidget("VISTA3D")
        widget.enter()
        slicer.mrmlScene.Clear(0)
        widget.exit()
        assert widget.panel.workbench.volume is None
        assert not widget.panel.workbench.segments
        assert not widget.panel.ui.addPointButton.enabled
