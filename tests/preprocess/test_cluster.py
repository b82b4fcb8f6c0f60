import os
import re
import signal
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import ray
import torch
import zarr
from ray.cluster_utils import Cluster

from asd_experiments.config import PreprocessConfig
from asd_experiments.data.store import ClipStore
from asd_experiments.data.store_writer import StoreWriter
from preprocess.cluster import ClusterError, Errand, marked, obstacle, on_cluster
from preprocess.cohort import preprocess
from preprocess.dispatch import WORKER_DIED
from preprocess.pipeline import Preprocessor
from preprocess.worker import Plan, Result
from tests.preprocess.films import film, walk, wall, write_cohort
from tests.preprocess.gates import Gate, in_background, wait_for_death

NAMES = [f"walk{n}.mp4" for n in range(5)]
HEALTH = {"health_check_period_ms": 500, "health_check_failure_threshold": 2}


@pytest.fixture(scope="module")
def head() -> Iterator[Cluster]:
    """A cluster whose head does no work."""
    quiet = {"num_cpus": 0, "include_dashboard": False, "_system_config": HEALTH}
    cluster = Cluster(initialize_head=True, head_node_args=quiet)
    yield cluster
    cluster.shutdown()


@pytest.fixture(scope="module")
def cluster(head: Cluster) -> Cluster:
    """The same with one node that works."""
    head.add_node(num_cpus=1)
    head.wait_for_nodes()
    return head


@pytest.fixture
def config(tmp_path: Path) -> PreprocessConfig:
    films = {name: film(walk(96, 160, 30), wall(96, 160, seed=n)) for n, name in enumerate(NAMES)}
    return write_cohort(tmp_path, films)


def plan_of(config: PreprocessConfig) -> Plan:
    """A plan as `preprocess` makes it, its store made."""
    preprocessor = Preprocessor(config.recipe)
    StoreWriter(config.store, preprocessor.recipe, preprocessor.backends)
    return Plan(Path(config.videos), config.store, config.recipe, {}, preprocessor.libraries, None)


def spread(plan: Plan, cluster: Cluster) -> dict[str, Result]:
    results = on_cluster(plan, NAMES, address=cluster.address, most_at_a_time=None)
    return {result.video: result for result in results}


def test_nobody_at_the_address(config: PreprocessConfig) -> None:
    with pytest.raises(ClusterError, match=r"no Ray cluster at ray_address=127\.0\.0\.1:1 "):
        preprocess(replace(config, ray_address="127.0.0.1:1"))
    with pytest.raises(ClusterError, match="no Ray cluster at ray_address=nonsense "):
        preprocess(replace(config, ray_address="nonsense"))


@pytest.fixture
def errand(config: PreprocessConfig) -> Errand:
    plan = plan_of(config)
    zarr.open_group(plan.store).create_group("mark")
    return Errand(plan, NAMES, "mark", {"zarr": zarr.__version__})


def test_a_node_that_can_do_the_work_has_no_obstacle(errand: Errand) -> None:
    assert obstacle(errand) is None


def test_a_node_with_another_library_is_refused(errand: Errand) -> None:
    reason = obstacle(replace(errand, libraries={"zarr": "1.0"}))
    assert reason and f"it has {zarr.__version__} zarr, not 1.0; install there" in reason
    reason = obstacle(replace(errand, libraries={"no-such-library": "1.0"}))
    assert reason and "it has no no-such-library, not 1.0; install there" in reason


@pytest.mark.parametrize(
    ("store", "node", "said"),
    [
        ("cpu", "cuda", "it computes on a GPU, but the store on the CPU, like .* take a new store"),
        ("cuda", "cpu", "its PyTorch finds no GPU, but the store is computed on one; mend that"),
    ],
)
def test_a_node_with_another_device_than_the_store_is_refused(
    store: str, node: str, said: str, errand: Errand, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("preprocess.network.best_device", lambda: torch.device(node))
    reason = obstacle(replace(errand, plan=replace(errand.plan, device=store)))
    assert reason and re.match(said, reason)
    assert obstacle(replace(errand, plan=replace(errand.plan, device=node))) is None
    assert obstacle(errand) is None  # no method computes on a GPU


def test_a_node_without_the_videos_is_refused(errand: Errand) -> None:
    reason = obstacle(replace(errand, videos=[*NAMES, "other.mp4"]))
    assert reason and "it does not see all videos; put them on a disk" in reason


def test_a_node_with_another_store_is_refused(errand: Errand, tmp_path: Path) -> None:
    reason = obstacle(replace(errand, mark="other"))
    assert reason and "it sees another store; take one on a disk" in reason
    nowhere = replace(errand.plan, store=str(tmp_path / "nowhere.zarr"))
    reason = obstacle(replace(errand, plan=nowhere))
    assert reason and "it cannot open the store (FileNotFoundError)" in reason
    assert not Path(nowhere.store).exists()


def test_a_node_that_does_not_reach_the_store_is_refused(
    errand: Errand, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_answer(*_: object) -> None:
        raise ConnectionError("no answer")

    monkeypatch.setattr("zarr.storage._local._get", no_answer)
    reason = obstacle(errand)
    assert reason and "it cannot open the store (ConnectionError); see that all" in reason


def test_marks_of_killed_runs_are_removed_and_others_left(config: PreprocessConfig) -> None:
    plan = plan_of(config)
    root = zarr.open_group(plan.store)
    root.create_group("mark_killed", attributes={"made_at": time.time() - 8 * 24 * 3600})
    root.create_group("mark_of_an_earlier_version")
    with marked(plan.store) as one, marked(plan.store) as other:
        assert set(zarr.open_group(plan.store)) == {one, other}
        assert obstacle(Errand(plan, NAMES, one, {})) is None
    assert not list(zarr.open_group(plan.store))
    assert zarr.open_group(plan.store).attrs["recipe"] == config.recipe


@pytest.mark.slow
def test_a_cluster_without_a_cpu_is_refused(head: Cluster, config: PreprocessConfig) -> None:
    with pytest.raises(ClusterError, match="no node of the cluster has a CPU"):
        preprocess(replace(config, ray_address=head.address))
    assert not ray.is_initialized()


@pytest.mark.slow
def test_a_store_that_nodes_cannot_reach_is_refused(
    cluster: Cluster, config: PreprocessConfig
) -> None:
    here = replace(config, ray_address=cluster.address, store="memory://here.zarr")
    with pytest.raises(ClusterError, match=r"node .*: it cannot open the store"):
        preprocess(here)


@pytest.mark.slow
def test_what_a_gpu_began_needs_nodes_with_one(cluster: Cluster, config: PreprocessConfig) -> None:
    """The second node claims a GPU that its PyTorch does not find; the first gets no video."""
    plan = replace(plan_of(config), device="cuda")
    with pytest.raises(ClusterError, match="no node of the cluster offers a GPU, but the store"):
        spread(plan, cluster)
    claims = cluster.add_node(num_cpus=1, num_gpus=1, env_vars={"CUDA_VISIBLE_DEVICES": ""})
    cluster.wait_for_nodes()
    try:
        with pytest.raises(ClusterError, match=r"node .*: its PyTorch finds no GPU") as caught:
            spread(plan, cluster)
    finally:
        cluster.remove_node(claims)
    assert len(str(caught.value).splitlines()) == 2


@pytest.mark.slow
def test_the_cluster_gives_what_one_process_gives_whoever_dies(
    cluster: Cluster, config: PreprocessConfig, tmp_path: Path
) -> None:
    preprocess(config)
    alone = ClipStore(config.store)
    shared = replace(
        config, workers=None, ray_address=cluster.address, store=str(tmp_path / "shared.zarr")
    )
    plan = plan_of(shared)
    once, always = Gate(tmp_path / NAMES[0]), Gate(tmp_path / NAMES[1])

    def kill() -> None:
        once.kill_reader()
        once.open()
        for _ in range(4):
            always.kill_reader()

    killer = in_background(kill)
    results = spread(plan, cluster)
    killer.join(timeout=60)
    assert not killer.is_alive()
    always.open()
    assert results[NAMES[1]].reason == WORKER_DIED
    assert [name for name in NAMES if results[name].is_new] == [NAMES[0], *NAMES[2:]]
    assert preprocess(shared).num_new == 1
    assert ClipStore(shared.store).digest == alone.digest
    assert sorted(zarr.open_group(shared.store)) == ["videos"]


@pytest.mark.slow
def test_a_worker_that_joins_later_is_checked_as_well(
    cluster: Cluster, config: PreprocessConfig, tmp_path: Path
) -> None:
    gate = Gate(tmp_path / NAMES[0])
    last = tmp_path / NAMES[-1]

    def lose_sight() -> None:
        gate.wait()
        last.rename(tmp_path / "gone.mp4")
        gate.kill_reader()

    in_background(lose_sight)
    with pytest.raises(ClusterError, match=r"^node .*: it does not see all videos"):
        spread(plan_of(config), cluster)


class StoppedError(Exception):
    """Raised by a signal handler, as `tracking` does it."""


@pytest.mark.slow
def test_a_stopped_run_lets_go_of_the_cluster(
    cluster: Cluster, config: PreprocessConfig, tmp_path: Path
) -> None:
    def stop(*_: object) -> None:
        raise StoppedError

    gate = Gate(tmp_path / NAMES[0])
    readers: list[int] = []

    def send_stop() -> None:
        readers.append(gate.wait())
        os.kill(os.getpid(), signal.SIGTERM)

    before = signal.signal(signal.SIGTERM, stop)
    try:
        in_background(send_stop)
        with pytest.raises(StoppedError):
            spread(plan_of(config), cluster)
    finally:
        signal.signal(signal.SIGTERM, before)
    assert not ray.is_initialized()
    wait_for_death(readers)
    assert not [name for name in zarr.open_group(config.store) if name.startswith("mark_")]


@pytest.mark.slow
def test_a_lost_node_costs_nothing(
    cluster: Cluster, config: PreprocessConfig, tmp_path: Path
) -> None:
    """Both nodes hold a video when one of them goes: its video is done by the other one."""
    alone = replace(config, store=str(tmp_path / "alone.zarr"))
    preprocess(alone)
    gates = [Gate(tmp_path / name) for name in NAMES[:2]]
    second = cluster.add_node(num_cpus=1)
    cluster.wait_for_nodes()

    def lose() -> None:
        readers = [gate.wait() for gate in gates]
        for gate in gates:
            gate.open()
        cluster.remove_node(second, allow_graceful=False)
        wait_for_death(readers)
        for gate in gates:
            gate.release()

    loser = in_background(lose)
    results = spread(plan_of(config), cluster)
    loser.join(timeout=60)
    assert not loser.is_alive()
    assert all(results[name].is_new for name in NAMES)
    assert preprocess(config).num_new == 0
    assert ClipStore(config.store).digest == ClipStore(alone.store).digest
