"""A clip store as MLflow knows it."""

import json
from typing import Any

from mlflow.entities import Dataset, DatasetInput, InputTag
from mlflow.tracking import MlflowClient
from mlflow.utils.mlflow_tags import MLFLOW_DATASET_CONTEXT
from pandas.api.types import is_numeric_dtype

from asd_experiments.data.store import ClipStore
from asd_experiments.provenance import DATA_DIGEST


def log_dataset(run_id: str, store: ClipStore, context: str) -> None:
    """Log a store as the data set of a run, and its digest as a tag, which runs are found by.

    Args:
        run_id: The run.
        store: A finished clip store.
        context: What the run does with it, such as `training`.
    """
    client = MlflowClient()
    client.log_inputs(run_id, [dataset_input(store, context)])
    client.set_tag(run_id, DATA_DIGEST, store.digest)


def dataset_input(store: ClipStore, context: str) -> DatasetInput:
    """The store as MLflow's data set, identified by the store's digest.

    Args:
        store: A finished clip store.
        context: What the run does with it, such as `training`.
    """
    videos = store.videos
    columns = [
        {"name": name, "type": "double" if is_numeric_dtype(videos[name]) else "string"}
        for name in videos.columns
    ]
    profile = {"num_rows": len(videos), "num_patients": int(videos["patient_id"].nunique())}
    dataset = Dataset(
        name="clips",
        digest=store.digest,
        source_type="clip_store",
        source=json.dumps({"uri": str(store.url), "digest": store.digest}),
        schema=json.dumps({"mlflow_colspec": columns}),
        profile=json.dumps(profile),
    )
    return DatasetInput(dataset, [InputTag(MLFLOW_DATASET_CONTEXT, context)])


def store_origin(store: ClipStore) -> dict[str, Any]:
    """How a store was made; weights are told by the SHA-256 of what the store keeps of them."""
    return {
        "digest": store.digest,
        "recipe": store.recipe,
        "backends": store.backends,
        "weights_sha256": store.weights_sha256,
    }
