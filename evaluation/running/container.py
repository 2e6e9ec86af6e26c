"""One container of Docker Engine, from its creation to its removal."""

import time
from typing import Any

from docker.errors import APIError
from requests.exceptions import ConnectionError as EngineSilence
from requests.exceptions import ReadTimeout

from evaluation.running.engine import Engine
from evaluation.running.logs import shorten

LOG_ENTRY_BYTES = 70
"""What the engine's json-file log stores beside the text of a line, at least."""

KILL_WAIT_S = 60
"""A killed container that is still there after this long is the engine's fault."""


class Container:
    """A container that exists; every method raises what the engine's client raises."""

    def __init__(self, engine: Engine, id: str) -> None:
        self._engine, self.id = engine, id

    def start(self) -> None:
        """Start it."""
        self._engine.start(self.id)

    def wait(self, deadline: float) -> bool:
        """Return True when it has ended, False when the deadline (monotonic) came first."""
        while (left := deadline - time.monotonic()) > 0:
            try:
                self._engine.wait(self.id, timeout=left)
                return True
            except (ReadTimeout, EngineSilence):
                # the deadline, or a broken connection: an engine that is gone fails here
                if not self.state()["Running"]:
                    return True
        return False

    def kill(self) -> None:
        """Kill it and wait for its end; one that has ended is fine."""
        try:
            self._engine.kill(self.id)
        except APIError:
            if self.state()["Running"]:
                raise
        self._engine.wait(self.id, timeout=KILL_WAIT_S)

    def signal_kill(self) -> None:
        """Kill it without waiting for its end."""
        self._engine.kill(self.id)

    def log(self, limit_bytes: int) -> bytes:
        """Return the end of its output; the engine itself keeps at most twice as much.

        The engine does not tell whether it dropped anything, but if it did, a whole file is left.
        """
        log: bytes = self._engine.logs(self.id, stdout=True, stderr=True)
        stored_bytes = len(log) + LOG_ENTRY_BYTES * log.count(b"\n")
        return shorten(log, limit_bytes, is_end=stored_bytes >= limit_bytes)

    def state(self) -> dict[str, Any]:
        """Return what the engine says of its state, such as ``Running`` and ``ExitCode``."""
        state: dict[str, Any] = self._engine.inspect_container(self.id)["State"]
        return state

    def host_config(self) -> dict[str, Any]:
        """Return the limits that the engine says it applied."""
        found: dict[str, Any] = self._engine.inspect_container(self.id)["HostConfig"]
        return found

    def layer_bytes(self) -> int:
        """Return what was written into its own layer of the root file system."""
        (entry,) = self._engine.containers(all=True, size=True, filters={"id": self.id})
        return int(entry.get("SizeRw", 0))

    def remove(self) -> None:
        """Kill and remove it with its anonymous volumes; one that is gone is fine."""
        try:
            self._engine.remove_container(self.id, v=True, force=True)
        except APIError as error:
            # 404: gone; 409: the engine is removing it already
            if error.response is None or error.response.status_code not in (404, 409):
                raise
