"""Runs of a graph begun before their answers are taken, several at a time.

Threads of ``threading`` alone: ``concurrent.futures`` takes 12 ms to import, and this is for
pictures, whose whole answer takes a second.
"""

import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import Generic, TypeVar

Question = TypeVar("Question")
Answer = TypeVar("Answer")


class _Begun(Generic[Answer]):
    """The answer to a question that a thread of its own works out, or why there is none."""

    def __init__(
        self, run: Callable[[Question], Answer], question: Question, turn: threading.Semaphore
    ) -> None:
        """``turn``: taken while it is worked out."""
        self._answer: Answer
        self._error: BaseException | None = None
        self._thread = threading.Thread(
            target=self._work_out, args=(run, question, turn), name="decode"
        )
        self._thread.start()

    def _work_out(
        self, run: Callable[[Question], Answer], question: Question, turn: threading.Semaphore
    ) -> None:
        with turn:
            try:
                self._answer = run(question)
            except BaseException as error:  # raised where the answer is taken
                self._error = error

    def wait(self) -> None:
        """Until it is worked out."""
        self._thread.join()

    def take(self) -> Answer:
        """The answer, waited for."""
        self.wait()
        if self._error is not None:
            raise self._error
        return self._answer


def in_turn(
    run: Callable[[Question], Answer], questions: Sequence[Question], at_once: int
) -> Iterator[Answer]:
    """What ``run`` gives for every question, in their order; raises what ``run`` raises.

    ``at_once`` of them are worked out at a time, at most twice as many are begun and not yet taken;
    1: none is begun before it is asked for, and there is no thread.  No thread waits for whoever
    takes the answers: one who goes away, by an error or Ctrl-C, leaves nothing that never ends.
    """
    if at_once == 1 or len(questions) < 2:
        yield from map(run, questions)
        return
    left, turn = iter(questions), threading.Semaphore(at_once)
    begun: deque[_Begun[Answer]] = deque()
    try:
        while True:
            for question in islice(left, 2 * at_once - len(begun)):
                begun.append(_Begun(run, question, turn))
            if not begun:
                return
            yield begun.popleft().take()
    finally:
        for one in begun:
            one.wait()
