"""The blueprint beside the field: ``python -m benchmarks``."""
