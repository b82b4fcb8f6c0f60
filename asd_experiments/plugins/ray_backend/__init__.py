"""MLflow's project backend `ray`: `mlflow run . --backend ray` runs a project on a Ray cluster.

MLflow imports this module when it looks for backends, and other programs when they list plugins:
Ray, and all else that takes time, is imported when a project is run.
"""

from collections.abc import Mapping
from importlib import import_module
from typing import Any


class RayBackend:
    """What MLflow calls; by its shape an `AbstractBackend` of `mlflow.projects.backend`.

    It inherits nothing, because the import of that class imports all of MLflow's projects.
    """

    def run(
        self,
        project_uri: str,
        entry_point: str,
        params: Mapping[str, str] | None,
        version: str | None,
        backend_config: Mapping[str, Any],
        tracking_uri: str,
        experiment_id: str,
    ) -> Any:
        """Submit an entry point to a cluster; see `launch.launch`."""
        launcher = import_module("asd_experiments.plugins.ray_backend.launch")
        return launcher.launch(
            project_uri,
            entry_point,
            params or {},
            version=version,
            backend_config=backend_config,
            tracking_uri=tracking_uri,
            experiment_id=experiment_id,
        )
