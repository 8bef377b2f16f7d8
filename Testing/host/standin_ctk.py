"""Stand-ins for widgets of CTK: they look and act as far as the module needs it."""

from __future__ import annotations

from PySide6.QtCore import Property, QChildEvent, QEvent, QObject, QRect, QSize, Qt, Signal
from PySide6.QtGui import QPainter, QPaintEvent
from PySide6.QtWidgets import QAbstractButton, QLayout, QLineEdit, QSizePolicy, QStyle, QStyleOption, QWidget


class ctkSearchBox(QLineEdit):  # noqa: N801 - the name of the real class
    """A line edit for searching."""

    signals_by_signature: dict[str, str] = {}  # noqa: RUF012

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setClearButtonEnabled(True)


class ctkCollapsibleButton(QAbstractButton):  # noqa: N801
    """A header that shows and hides what is laid out below it."""

    contentsCollapsedSignal = Signal(bool)
    signals_by_signature = {"contentsCollapsed(bool)": "contentsCollapsedSignal"}  # noqa: RUF012
    HEADER = 24

    def __init__(self, parent: QWidget | None = None) -> None:
        self._forcing = False
        super().__init__(parent)
        self.setCheckable(True)
        self.setChecked(True)
        self.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Preferred)
        self.setContentsMargins(0, self.HEADER, 0, 0)
        self.toggled.connect(self._show)

    def _get(self) -> bool:
        return not self.isChecked()

    def _set(self, collapsed: bool) -> None:
        self.setChecked(not collapsed)

    collapsed = Property(bool, _get, _set)

    def _show(self, opened: bool) -> None:
        """Hide the children, or show those that would be seen if they had never been hidden."""
        for child in self.findChildren(QWidget, options=Qt.FindChildOption.FindDirectChildrenOnly):
            self._forcing = True
            if opened:
                child.setVisible(child.property("wanted") is not False)
            else:
                child.setProperty("wanted", not child.isHidden())
                child.setVisible(False)
            self._forcing = False
        if self.layout() is not None:
            for box in self.findChildren(QLayout):
                box.invalidate()  # sizes that were computed while the children were hidden
        self.updateGeometry()
        self.contentsCollapsedSignal.emit(not opened)

    def childEvent(self, event: QChildEvent) -> None:
        super().childEvent(event)
        child = event.child()
        # When a child is added its class is not there yet; when it is polished it is.
        if event.polished() and isinstance(child, QWidget):
            child.installEventFilter(self)
            if not self.isChecked():
                self._forcing = True
                child.setProperty("wanted", not child.isHidden())
                child.setVisible(False)
                self._forcing = False

    def eventFilter(self, child: QObject, event: QEvent) -> bool:
        """What is shown or hidden while this is collapsed is shown or hidden when it is opened."""
        kinds = (QEvent.Type.ShowToParent, QEvent.Type.HideToParent)
        if isinstance(child, QWidget) and event.type() in kinds and not self._forcing and not self.isChecked():
            child.setProperty("wanted", event.type() == QEvent.Type.ShowToParent)
            if event.type() == QEvent.Type.ShowToParent:
                self._forcing = True
                child.setVisible(False)
                self._forcing = False
        return False

    def sizeHint(self) -> QSize:
        if not self.isChecked() or self.layout() is None:
            return QSize(100, self.HEADER)
        return self.layout().sizeHint()

    def minimumSizeHint(self) -> QSize:
        if not self.isChecked() or self.layout() is None:
            return QSize(100, self.HEADER)
        return self.layout().minimumSize()

    def hitButton(self, position: object) -> bool:
        return bool(position.y() < self.HEADER)  # type: ignore[attr-defined]

    def paintEvent(self, _: QPaintEvent) -> None:
        painter = QPainter(self)
        header = QRect(0, 0, self.width(), self.HEADER - 2)
        painter.fillRect(header, self.palette().button())
        option = QStyleOption()
        option.initFrom(self)
        option.rect = QRect(6, 6, 10, 10)
        arrow = QStyle.PrimitiveElement.PE_IndicatorArrowDown
        if not self.isChecked():
            arrow = QStyle.PrimitiveElement.PE_IndicatorArrowRight
        self.style().drawPrimitive(arrow, option, painter, self)
        painter.drawText(header.adjusted(22, 0, 0, 0), Qt.AlignmentFlag.AlignVCenter, self.text())
        painter.end()
