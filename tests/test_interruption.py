import os
import signal
import subprocess
import sys

import pytest

from asd_experiments.interruption import Interrupted, raise_if_stopped, stop_signals_raise


def test_the_first_request_raises_and_no_second_one_does():
    with stop_signals_raise():
        with pytest.raises(Interrupted, match="stopped by SIGINT"):
            os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGTERM)
    raise_if_stopped()  # what was asked for is done


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_request_that_was_lost_is_found():
    class Deleted:
        def __del__(self):
            os.kill(os.getpid(), signal.SIGTERM)

    with stop_signals_raise():
        Deleted()  # Python prints the exception and goes on
        with pytest.raises(Interrupted, match="stopped by SIGTERM"):
            raise_if_stopped()


def test_handlers_are_put_back():
    before = signal.getsignal(signal.SIGINT)
    with stop_signals_raise():
        assert signal.getsignal(signal.SIGINT) is not before
    assert signal.getsignal(signal.SIGINT) is before


def test_a_process_that_fails_does_not_wait_for_its_readers_of_clips():
    """They ignore the signal by which Python ends what a process has left running."""
    program = """
import multiprocessing, time
from asd_experiments.interruption import leave_stopping_to_the_parent

def read(ready):
    leave_stopping_to_the_parent()
    ready.set()
    time.sleep(1000)

context = multiprocessing.get_context("fork")
ready = context.Event()
context.Process(target=read, args=(ready,), daemon=True).start()
ready.wait()
raise RuntimeError("the network has diverged")
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 1 and "the network has diverged" in done.stderr
