"""A worker of a scheduler that goes away, without a scheduler."""

from typing import Any

import pytest

from evaluation.errors import HarnessFault
from evaluation.running import remote


def test_a_worker_that_is_gone_is_a_fault_and_no_wait_for_ever() -> None:
    class Future:
        cancelled = False

        def result(self, timeout: float) -> Any:
            raise TimeoutError

        def done(self) -> bool:
            return False

        def cancel(self) -> None:
            Future.cancelled = True

    class Client:
        looks = 0

        def submit(self, *_: Any, **__: Any) -> Future:
            return Future()

        def scheduler_info(self, n_workers: int) -> dict[str, Any]:
            Client.looks += 1
            return {"workers": {"tcp://one:1": {}} if Client.looks < 3 else {}}

    workers = remote.Workers.__new__(remote.Workers)
    workers._client = Client()
    with pytest.raises(HarnessFault, match="worker tcp://one:1: it is gone"):
        workers.call("tcp://one:1", print)
    assert Client.looks == 3 and Future.cancelled


def test_an_answer_that_comes_as_the_wait_ends_is_taken() -> None:
    class Future:
        waits = 0

        def result(self, timeout: float | None = None) -> Any:
            if timeout is not None:
                raise TimeoutError
            return "masks"

        def done(self) -> bool:
            return True

    class Client:
        def submit(self, *_: Any, **__: Any) -> Future:
            return Future()

    workers = remote.Workers.__new__(remote.Workers)
    workers._client = Client()
    assert workers.call("tcp://one:1", print) == "masks"
