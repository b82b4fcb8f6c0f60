"""What MLflow finds by the entry points of this package.

MLflow imports some of it while it is itself being imported: a module that it is pointed to imports
the standard library, and what stands on that alone; neither MLflow, whose names are not all there
yet, nor anything that takes time.
"""
