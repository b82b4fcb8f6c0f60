"""Explanations: which places of a clip speak for the class that a network gave it."""
