"""Videos to workers that may die: a bounded number at a time, tried again after a death."""

from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, wait
from typing import TypeVar

WORKER_DIED = "its worker process died (out of memory?)"

Result = TypeVar("Result")


def dispatch(
    videos: Iterable[str],
    submit: Callable[[str], "Future[Result]"],
    *,
    lost: Callable[[str], Result],
    in_flight: int,
    attempts: int,
    deaths: tuple[type[Exception], ...],
) -> Iterator[Result]:
    """Have every video done by a worker elsewhere; results come as they finish.

    Only the death of a worker is an event to live with: any other exception is a bug and ends it.

    Args:
        videos: Names of the videos.
        submit: Hands a video to a worker.
        lost: Result of a video that has killed too many workers.
        in_flight: Most videos that are handed out at a time.
        attempts: Workers that a video may kill before it counts as failed. It is tried again
            after all others, when there may be more memory left for it.
        deaths: Exceptions that say that a worker died.
    """
    waiting = deque(videos)
    killed: Counter[str] = Counter()
    running: dict[Future[Result], str] = {}
    while waiting or running:
        while waiting and len(running) < in_flight:
            video = waiting.popleft()
            running[submit(video)] = video
        for future in wait(running, return_when=FIRST_COMPLETED).done:
            video = running.pop(future)
            try:
                result = future.result()
            except deaths:
                killed[video] += 1
                if killed[video] < attempts:
                    waiting.append(video)
                    continue
                result = lost(video)
            yield result
