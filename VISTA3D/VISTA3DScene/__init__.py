"""VISTA3D in a MRML scene: volumes, segments, points, undo. Slicer classes and VTK; no Qt, no torch."""
