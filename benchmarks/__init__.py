"""The blueprint beside the view that one writes by hand: ``python -m benchmarks``."""
