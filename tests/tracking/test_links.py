"""Links as MLflow's notes take them; that they lead there is tested in its pages."""

from mlflow.tracking import MlflowClient

from asd_experiments.tracking.links import compare_link, run_link, version_link


def test_links_name_what_they_lead_to(tmp_path):
    client = MlflowClient(f"sqlite:///{tmp_path / 'mlflow.db'}")
    runs = [client.create_run("0", run_name=name) for name in ("first", "second")]
    ids = [run.info.run_id for run in runs]
    assert run_link(runs[0]) == f"[first](#/experiments/0/runs/{ids[0]})"
    listed = "%2C".join(f"%22{run_id}%22" for run_id in ids)
    place = f"#/compare-runs?runs=%5B{listed}%5D&experiments=%5B%220%22%5D"
    assert compare_link(runs, "both") == f"[both]({place})"
    assert version_link("net", "2", "its model") == "[its model](#/models/net/versions/2)"
