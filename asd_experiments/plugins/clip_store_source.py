"""MLflow's data set source `clip_store`: a run's logged data set opens its clip store again.

MLflow imports this module while it is itself being imported; the store's reader, with all that it
needs, is imported when a store is opened.
"""

import json
import sys
from importlib import import_module
from typing import Any

from asd_experiments.errors import InputError


class ClipStoreSource:
    """Where a clip store is, and which one it is; by its shape MLflow's `DatasetSource`.

    Args:
        uri: Folder or fsspec URL, as the run was told it: a relative one is relative to the folder
            where the run was started.
        digest: Digest of the store; None where it was not logged with its place.
    """

    def __init__(self, uri: str, digest: str | None = None) -> None:
        self.uri = uri
        self.digest = digest

    def load(self, url: str | None = None) -> Any:
        """Open the store.

        Args:
            url: Where it is now. None: where it was.

        Returns:
            The `ClipStore` that was logged.

        Raises:
            InputError: If it is not there, or another one is.
        """
        place = url or self.uri
        try:
            store = import_module("asd_experiments.data.store").ClipStore(place)
        except InputError as error:
            raise InputError(
                f"the clip store of this data set cannot be read: {error}; it was logged as "
                f"{self.uri!r}: if it has moved, or this is another folder than the run's, say "
                "where it is: load(url)"
            ) from error
        if self.digest is not None and store.digest != self.digest:
            raise InputError(
                f"another clip store is at {place!r} than the one that was logged: its digest must "
                f"be {self.digest}, got {store.digest}; if the right one has moved, say where it "
                "is: load(url)"
            )
        return store

    @staticmethod
    def _get_source_type() -> str:
        return "clip_store"

    @staticmethod
    def _can_resolve(raw_source: Any) -> bool:
        """Of all that a program may call a source, only an open store is ours without doubt."""
        module = sys.modules.get("asd_experiments.data.store")
        return module is not None and isinstance(raw_source, module.ClipStore)

    @classmethod
    def _resolve(cls, raw_source: Any) -> "ClipStoreSource":
        return cls(str(raw_source.url), raw_source.digest)

    def to_dict(self) -> dict[str, Any]:
        """What is logged."""
        known = {} if self.digest is None else {"digest": self.digest}
        return {"uri": self.uri, **known}

    @classmethod
    def from_dict(cls, source_dict: dict[str, Any]) -> "ClipStoreSource":
        """Read what was logged."""
        return cls(source_dict["uri"], source_dict.get("digest"))

    def to_json(self) -> str:
        """What is logged, as a text."""
        return json.dumps(self.to_dict())

    @classmethod
    def from_json(cls, source_json: str) -> "ClipStoreSource":
        """Read what was logged, from a text."""
        return cls.from_dict(json.loads(source_json))
