from __future__ import annotations

import os
import sys

import pytest

from handler.start.background import Background


def test_it_gives_what_the_function_gave() -> None:
    assert Background(lambda: 5).result() == 5


def test_it_raises_what_the_function_raised() -> None:
    def fail() -> None:
        raise KeyError("x")

    with pytest.raises(KeyError):
        Background(fail).result()


@pytest.mark.skipif(sys.platform != "linux", reason="threads have no niceness of their own")
def test_a_nice_thread_leaves_the_others_as_they_were() -> None:
    own = os.getpriority(os.PRIO_PROCESS, 0)
    assert Background(lambda: os.getpriority(os.PRIO_PROCESS, 0), nice=min(own + 3, 19)).result() == min(own + 3, 19)
    assert os.getpriority(os.PRIO_PROCESS, 0) == own
