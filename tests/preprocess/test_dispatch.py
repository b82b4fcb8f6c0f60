from collections.abc import Iterator
from concurrent.futures import Future

import pytest

from preprocess.dispatch import WORKER_DIED, dispatch
from preprocess.worker import Result


class DeathError(Exception):
    pass


class Workers:
    """Workers that answer at once; some videos kill them a given number of times."""

    def __init__(self, deadly: dict[str, int] | None = None) -> None:
        self.given: list[str] = []
        self._deadly = dict(deadly or {})

    def submit(self, video: str) -> "Future[Result]":
        self.given.append(video)
        future: Future[Result] = Future()
        if self._deadly.get(video, 0) > 0:
            self._deadly[video] -= 1
            future.set_exception(DeathError())
        else:
            future.set_result(Result(video, key=video))
        return future

    def do(self, videos: list[str], *, in_flight: int = 2) -> Iterator[Result]:
        return dispatch(
            videos,
            self.submit,
            lost=Result.lost,
            in_flight=in_flight,
            attempts=2,
            deaths=(DeathError,),
        )


def test_every_video_is_done_once():
    videos = list("abcde")
    workers = Workers()
    assert sorted(workers.do(videos)) == [Result(v, key=v) for v in videos]
    assert workers.given == videos


def test_no_more_videos_are_handed_out_than_allowed():
    workers = Workers()
    results = workers.do(list("abcdefgh"), in_flight=3)
    next(results)
    assert workers.given == list("abc")


def test_a_video_that_killed_a_worker_is_tried_again_after_the_others():
    workers = Workers({"a": 1})
    assert {r.video: r.reason for r in workers.do(list("abc"))} == dict.fromkeys("abc")
    assert workers.given == ["a", "b", "c", "a"]


def test_a_video_that_kills_every_worker_fails_and_costs_no_other():
    workers = Workers({"b": 9})
    results = {result.video: result for result in workers.do(list("abc"))}
    assert results["b"] == Result("b", reason=WORKER_DIED)
    assert results["a"].key and results["c"].key
    assert workers.given.count("b") == 2


def test_any_other_exception_ends_it():
    def submit(_: str) -> "Future[Result]":
        future: Future[Result] = Future()
        future.set_exception(TypeError("a bug"))
        return future

    with pytest.raises(TypeError, match="a bug"):
        list(
            dispatch(["a"], submit, lost=Result.lost, in_flight=1, attempts=2, deaths=(DeathError,))
        )
