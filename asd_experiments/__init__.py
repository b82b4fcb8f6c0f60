"""Honest experiments on video classifiers of adult spinal deformity."""

__version__ = "0.1.0"
