"""Videos that the nodes of a Ray cluster classify."""

import re
from collections.abc import Iterator
from dataclasses import asdict, replace

import pytest
from ray.cluster_utils import Cluster

from asd_experiments.data.video_file import file_sha256
from asd_experiments.prediction.cluster import Errand, obstacle, on_cluster
from asd_experiments.prediction.logged_model import LoggedModel
from asd_experiments.prediction.plan import Plan
from asd_experiments.ray_cluster import ClusterError
from tests.preprocess.gates import Gate, in_background

NAMES = [f"walk{n}.mp4" for n in range(3)]


@pytest.fixture
def plan(trial, make_video, tmp_path) -> Plan:
    files = {name: make_video(tmp_path / name, number) for number, name in enumerate(NAMES)}
    model = LoggedModel.find(trial)
    contents = {name: path.read_bytes() for name, path in model.files()}
    sums = {name: file_sha256(path) for name, path in files.items()}
    return Plan(tmp_path, sums, contents, asdict(model.networks.options({"device": "cpu"})))


def test_a_node_that_can_do_the_work_has_no_obstacle(plan):
    assert obstacle(Errand(plan, {}, None)) is None


def test_a_node_with_another_library_device_or_disk_is_refused(plan, monkeypatch):
    reason = obstacle(Errand(plan, {"torch": "1.0"}, None))
    assert reason and re.match(r"it has .* torch, not 1\.0; install there", reason)
    monkeypatch.setattr("asd_experiments.prediction.cluster.device_here", lambda: "cpu")
    reason = obstacle(Errand(plan, {}, "cuda"))
    assert reason and reason.startswith("it computes on cpu, but the machine that the command")
    assert obstacle(Errand(plan, {}, "cpu")) is None
    reason = obstacle(Errand(replace(plan, sums={**plan.sums, "gone.mp4": "0"}), {}, None))
    assert reason and reason.startswith("it does not see all videos; put them on a disk")


def test_a_file_that_has_changed_meanwhile_is_not_taken_for_the_other(plan):
    worker = replace(plan, sums={**plan.sums, NAMES[0]: "0"}).worker()
    assert worker(NAMES[0]).problem == "it has changed meanwhile; run the same command again"
    (plan.videos / NAMES[1]).unlink()
    assert worker(NAMES[1]).problem == "it cannot be read: No such file or directory"


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    """A cluster of two nodes, one of which works."""
    quiet = {"num_cpus": 0, "include_dashboard": False}
    cluster = Cluster(initialize_head=True, head_node_args=quiet)
    cluster.add_node(num_cpus=1)
    cluster.wait_for_nodes()
    yield cluster
    cluster.shutdown()


@pytest.mark.slow
def test_the_cluster_gives_what_one_process_gives_whoever_dies(plan, cluster):
    alone = {name: result for name in NAMES if (result := plan.worker()(name))}
    gate = Gate(plan.videos / NAMES[1])

    def kill() -> None:
        gate.kill_reader()
        gate.open()

    killer = in_background(kill)
    spread = on_cluster(
        plan, NAMES, libraries={}, device=None, address=cluster.address, most_at_a_time=None
    )
    results = {result.video: result for result in spread}
    killer.join(timeout=60)
    assert not killer.is_alive()
    assert sorted(results) == NAMES and not [r.problem for r in results.values() if r.problem]
    for name in NAMES:
        own, expected = results[name].clips, alone[name].clips
        assert own.source_sha256 == expected.source_sha256
        assert own.clips.equals(expected.clips) and own.flags == expected.flags
    with pytest.raises(ClusterError, match=r"node .*: it has .* torch, not 1\.0"):
        list(
            on_cluster(
                plan,
                NAMES,
                libraries={"torch": "1.0"},
                device=None,
                address=cluster.address,
                most_at_a_time=None,
            )
        )
