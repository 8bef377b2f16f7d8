"""Results as Slicer's own tables and plots."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import slicer
import vtk


def fillTable(node: Any, columns: Sequence[tuple[str, str]], rows: Sequence[Mapping[str, Any]]) -> None:
    """Write rows into a table node. ``columns``: title and key; the first key may be empty and means ``name``.

    Columns in which every value is a number are numbers (what is missing is NaN); the others are texts.
    """
    node.RemoveAllColumns()
    for title, key in columns:
        values = [row.get(key or "name") for row in rows]
        texts = any(isinstance(value, str) for value in values)
        array = vtk.vtkStringArray() if texts else vtk.vtkDoubleArray()
        array.SetName(title)
        for value in values:
            if texts:
                array.InsertNextValue("" if value is None else str(value))
            else:
                array.InsertNextValue(float("nan") if value is None else float(value))
        node.AddColumn(array)
    node.SetUseColumnNameAsColumnHeader(True)
    node.Modified()


class Plot:
    """A chart over columns of a table: lines over a column, or bars with labels."""

    def __init__(self, scene: Any, title: str, xTitle: str, yTitle: str) -> None:
        self._scene = scene
        self.chart = scene.AddNewNodeByClass("vtkMRMLPlotChartNode", title)
        self.chart.SetTitle(title)
        self.chart.SetXAxisTitle(xTitle)
        self.chart.SetYAxisTitle(yTitle)

    def bars(self, table: Any, column: str, labels: str) -> None:
        """One bar a row, with the text of the column ``labels``."""
        series = self._series(table, column, column)
        series.SetLabelColumnName(labels)
        series.SetPlotType(slicer.vtkMRMLPlotSeriesNode.PlotTypeBar)

    def line(self, table: Any, x: str, y: str, color: tuple[float, float, float]) -> None:
        """A line through the values of ``y`` over those of ``x``."""
        series = self._series(table, y, y)
        series.SetXColumnName(x)
        series.SetPlotType(slicer.vtkMRMLPlotSeriesNode.PlotTypeScatter)
        series.SetMarkerStyle(slicer.vtkMRMLPlotSeriesNode.MarkerStyleCircle)
        series.SetColor(*color)

    def show(self, table: Any) -> None:
        """Show the chart in a layout with a plot, and the table where a layout has one."""
        slicer.modules.plots.logic().ShowChartInLayout(self.chart)
        logic = slicer.app.applicationLogic()
        logic.GetSelectionNode().SetActiveTableID(table.GetID())
        logic.PropagateTableSelection()

    def _series(self, table: Any, name: str, column: str) -> Any:
        series = self._scene.AddNewNodeByClass("vtkMRMLPlotSeriesNode", name)
        series.SetAndObserveTableNodeID(table.GetID())
        series.SetYColumnName(column)
        self.chart.AddAndObservePlotSeriesNodeID(series.GetID())
        return series
