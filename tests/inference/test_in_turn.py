"""Runs begun before their answers are taken: order, how many at a time, errors, an early end."""

import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from inference.in_turn import in_turn

ROOT = Path(__file__).parents[2]


def threads_now():
    return {thread.name for thread in threading.enumerate()}


@pytest.mark.parametrize("at_once", [1, 2, 3, 9])
@pytest.mark.parametrize("count", [0, 1, 2, 5, 20])
def test_answers_come_in_the_order_of_the_questions(at_once, count):
    slow = threading.Event()

    def run(question):
        if question == 0 and at_once > 1 and count > 1:  # the first is ready after the second
            assert slow.wait(10)
        if question == 1:
            slow.set()
        return question * 10

    assert list(in_turn(run, range(count), at_once)) == [10 * i for i in range(count)]
    assert "decode" not in threads_now()


def test_exactly_as_many_are_worked_out_at_a_time_as_are_allowed():
    together, lock, running, most = threading.Barrier(3, timeout=10), threading.Lock(), [0], [0]

    def run(question):
        with lock:
            running[0] += 1
            most[0] = max(most[0], running[0])
        together.wait()  # broken, an error, unless three come at a time
        time.sleep(0.01)  # a fourth would come now
        with lock:
            running[0] -= 1
        return question

    assert list(in_turn(run, range(9), 3)) == list(range(9))
    assert most == [3]


def test_one_at_a_time_is_worked_out_when_it_is_asked_for_and_by_the_one_who_asks():
    asked = []

    def run(question):
        asked.append((question, threading.current_thread()))
        return question

    answers = in_turn(run, range(3), 1)
    assert next(answers) == 0 and asked == [(0, threading.main_thread())]


def test_nobody_runs_far_ahead_of_the_one_who_takes():
    begun, lock = [], threading.Lock()

    def run(question):
        with lock:
            begun.append(question)
        return question

    answers = in_turn(run, range(100), 2)
    for taken in range(1, 11):
        next(answers)
        with lock:
            assert len(begun) <= taken + 3
    answers.close()
    assert len(begun) <= 13 and "decode" not in threads_now()


def test_an_error_is_raised_in_the_place_of_its_answer_and_ends_all():
    found, asked = [], []

    def run(question):
        asked.append(question)
        if question == 3:
            raise ValueError("three")
        return question

    with pytest.raises(ValueError, match="three"):
        for answer in in_turn(run, range(50), 2):
            found.append(answer)
    assert found == [0, 1, 2] and "decode" not in threads_now()
    assert max(asked) <= 6


@pytest.mark.parametrize("error", ["ValueError", "KeyboardInterrupt"])
def test_a_process_whose_taker_fails_ends(error):
    """The traceback keeps the generator, which then is closed by nobody."""
    program = (
        "from inference.in_turn import in_turn\n"
        "def main():\n"
        "    answers = in_turn(lambda question: question, range(50), 2)\n"
        f"    for answer in answers: raise {error}('taker')\n"
        "main()\n"
    )
    line = [sys.executable, "-c", program]
    ended = subprocess.run(line, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert ended.returncode != 0 and error in ended.stderr
