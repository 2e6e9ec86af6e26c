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
