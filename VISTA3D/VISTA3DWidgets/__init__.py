"""The panel of the Slicer module: Qt widgets over ``VISTA3DScene``. No torch."""
