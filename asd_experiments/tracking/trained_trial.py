"""A finished trial with what it can be computed with again: its networks and its clip store."""

from functools import cached_property

from mlflow.artifacts import load_dict

from asd_experiments.data.store import ClipStore
from asd_experiments.errors import InputError
from asd_experiments.tracking.finished_trial import STORE, FinishedTrial
from asd_experiments.tracking.model import TwoStreamVideoModel, load_trial_model
from asd_experiments.tracking.runs import MODEL


class TrainedTrial(FinishedTrial):
    """A finished trial whose networks and clips are still there."""

    @property
    def device(self) -> str:
        """What it was trained on: `cpu` or `cuda`."""
        return self.parameters["device"]

    @cached_property
    def model(self) -> TwoStreamVideoModel:
        """Networks of all folds.

        Raises:
            InputError: If the trial has logged none.
        """
        if MODEL not in self.run.data.tags:
            raise InputError(f"the run {self.run_id} has no model; train it anew")
        return load_trial_model(self.run.data.tags[MODEL])

    def store(self, url: str | None = None) -> ClipStore:
        """Open the clip store that the trial was trained on.

        Args:
            url: Where it is now. None: where it was.

        Raises:
            InputError: If it is not there, or another one is.
        """
        place = url or self.parameters["store"]
        digest = load_dict(f"runs:/{self.run_id}/{STORE}")["digest"]
        try:
            store = ClipStore(place)
        except InputError as error:
            raise InputError(
                f"the clip store of run {self.run_id} cannot be read: {error}; if it has moved, "
                "say where it is by store="
            ) from error
        if store.digest != digest:
            raise InputError(
                f"run {self.run_id} was trained on another clip store than {place!r}: its digest "
                f"must be {digest}, got {store.digest}; if the right one has moved, say where it "
                "is by store="
            )
        return store
