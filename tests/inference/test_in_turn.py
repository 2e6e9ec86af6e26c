"""Runs begun before their answers are taken: order, how many at a time, errors, an early end."""

import threading

import pytest

from inference.in_turn import in_turn


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


def test_as_many_are_worked_out_at_a_time_as_are_allowed():
    together = threading.Barrier(3, timeout=10)

    def run(question):
        together.wait()  # broken, an error, unless three come at a time
        return question

    assert list(in_turn(run, range(6), 3)) == list(range(6))


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
            assert len(begun) <= taken + 4
    answers.close()
    assert len(begun) < 20 and "decode" not in threads_now()


def test_an_error_is_raised_in_the_place_of_its_answer_and_ends_all():
    def run(question):
        if question == 3:
            raise ValueError("three")
        return question

    found = []
    with pytest.raises(ValueError, match="three"):
        for answer in in_turn(run, range(50), 2):
            found.append(answer)
    assert found == [0, 1, 2] and "decode" not in threads_now()
