"""MLflow's run context provider `asd`: what made a run, as tags of every run of this project."""

from asd_experiments.provenance import context_tags, is_of_project


class RunContext:
    """What MLflow asks when a run starts; by its shape a `RunContextProvider`.

    It inherits nothing, because MLflow imports it while it is itself being imported.
    """

    def in_context(self) -> bool:
        """Whether the run that starts is one of this project's."""
        return is_of_project()

    def tags(self) -> dict[str, str]:
        """Tags of the run that starts; see `provenance`."""
        return context_tags()
