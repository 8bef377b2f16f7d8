"""The process that owns the model and the device: ``python -m VISTA3DLib.worker FOLDER``."""
