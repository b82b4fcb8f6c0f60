"""Figures of the predictions, one kind a file.

They are built without pyplot (no global state, no window) and drawn to be read at 600 px.
"""
