"""Measurements, always side by side with something else in the same run; results are kept in `results/`."""
