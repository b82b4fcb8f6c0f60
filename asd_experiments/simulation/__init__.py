"""Simulated walkers: a cohort with known truth."""
