"""Our numbers beside the reference's, measured in the same run: ``python -m benchmarks``."""
