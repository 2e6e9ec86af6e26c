"""Several cases at once, each on processors of its own.

Two containers that share a processor, or its caches, time each other. A lane is one runner with its
own connection and its own processors; it works off one turn after the other.
"""

import os
import threading
from collections.abc import Callable, Sequence
from typing import TypeVar

from evaluation.errors import UsageError

Lane = TypeVar("Lane")
Turn = TypeVar("Turn")

_LOOK_S = 0.2


def split_processors(lanes: int) -> list[str]:
    """Return disjoint sets of this process's processors, as Docker writes them; all for one lane.

    Sets are runs of neighbours, equal in size but for the remainder, which stays idle.
    """
    if lanes == 1:
        return [""]
    processors = sorted(os.sched_getaffinity(0))
    share = len(processors) // lanes
    if share == 0:
        raise UsageError(f"jobs: expected at most {len(processors)} (processors), found {lanes}")
    shares = [processors[lane * share : (lane + 1) * share] for lane in range(lanes)]
    return [",".join(map(str, share)) for share in shares]


def work_off(
    take: Callable[[Lane], Turn | None],
    lanes: Sequence[Lane],
    do: Callable[[Lane, Turn], None],
    stop: threading.Event,
    end: Callable[[], object],
) -> None:
    """Do every turn that ``take`` gives a lane, until it gives None; one lane works in this thread.

    The first exception, Ctrl-C included, sets ``stop``, calls ``end``, which must end what the
    lanes wait for, and is raised when all lanes have stopped. ``do`` looks at ``stop`` itself.
    """
    if len(lanes) == 1:
        while (turn := take(lanes[0])) is not None:
            do(lanes[0], turn)
        return
    lock = threading.Lock()
    errors: list[BaseException] = []

    def work(lane: Lane) -> None:
        try:
            while not stop.is_set():
                with lock:
                    turn = take(lane)
                if turn is None:
                    return
                do(lane, turn)
        except BaseException as error:
            errors.append(error)
            stop.set()

    threads = [threading.Thread(target=work, args=(lane,)) for lane in lanes]
    try:
        for thread in threads:
            thread.start()
        while any(thread.is_alive() for thread in threads) and not stop.wait(_LOOK_S):
            pass
    except BaseException as error:
        errors.insert(0, error)
    if errors:
        stop.set()
        end()
    for thread in threads:
        if thread.ident is not None:  # an interrupt may have come before it was started
            thread.join()
    if errors:
        raise errors[0]
