"""Metrics, statistics and figures from stored predictions."""
