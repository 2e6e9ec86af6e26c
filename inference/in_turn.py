"""Runs of a graph begun before their answers are taken, several at a time.

Threads of ``threading`` alone: ``concurrent.futures`` takes 12 ms to import, and this is for
pictures, whose whole answer takes a second.
"""

import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Generic, TypeVar

Question = TypeVar("Question")
Answer = TypeVar("Answer")


class _Pending(Generic[Question, Answer]):
    """A question, and later its answer or the reason why there is none."""

    def __init__(self, question: Question) -> None:
        self.question = question
        self._ready = threading.Event()
        self._answer: Answer
        self._error: BaseException | None = None

    def work_out(self, run: Callable[[Question], Answer]) -> None:
        try:
            self._answer = run(self.question)
        except BaseException as error:  # raised where the answer is taken
            self._error = error
        self._ready.set()

    def take(self) -> Answer:
        """The answer, waited for; given away once."""
        self._ready.wait()
        if self._error is not None:
            raise self._error
        answer = self._answer
        del self._answer
        return answer


def in_turn(
    run: Callable[[Question], Answer], questions: Sequence[Question], at_once: int
) -> Iterator[Answer]:
    """What ``run`` gives for every question, in their order; raises what ``run`` raises.

    ``at_once`` of them are worked out at a time, by threads that are at most so many answers again
    ahead of whoever takes them; 1: none is begun before it is asked for, and there is no thread.
    """
    if at_once == 1 or len(questions) < 2:
        yield from map(run, questions)
        return
    pending = [_Pending[Question, Answer](question) for question in questions]
    left, taking, stopped = iter(pending), threading.Lock(), threading.Event()
    may_begin = threading.Semaphore(2 * at_once)

    def work() -> None:
        while True:
            may_begin.acquire()
            with taking:
                one = next(left, None)
            if one is None or stopped.is_set():
                return
            one.work_out(run)

    workers = [threading.Thread(target=work, name="decode") for _ in range(at_once)]
    for worker in workers:
        worker.start()
    try:
        for one in pending:
            yield one.take()
            may_begin.release()
    finally:
        stopped.set()
        may_begin.release(at_once)
        for worker in workers:
            worker.join()
