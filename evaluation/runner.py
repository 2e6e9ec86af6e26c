"""Runs one case in one fresh container of Docker Engine."""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from docker.errors import APIError
from docker.types import LogConfig, Mount
from requests.exceptions import ConnectionError as EngineSilence
from requests.exceptions import ReadTimeout

from evaluation.engine import ENGINE_FAILURES, Engine
from evaluation.errors import EngineError, HarnessFault
from evaluation.images import make_image
from evaluation.kernel_log import OomWitness, is_readable
from evaluation.logs import shorten
from evaluation.outcomes import CaseRun
from evaluation.protocol import Protocol
from evaluation.run_folder import is_abandoned
from evaluation.staging import Folders
from evaluation.teams import Submission, Team

LOCK_LABEL = "medsam-laptop.lock"
"""Container label: the lock file of the run that made it, by which leftovers are known."""

CASE_LABEL = "medsam-laptop.case"
"""Container label: the team and the case that it runs."""

COMMAND_NOT_RUN = (126, 127)
"""Docker's exit codes for a command that cannot be executed, or is not there."""

LOG_ENTRY_BYTES = 70
"""What the engine's json-file log stores beside the text of a line, at least."""

KILL_WAIT_S = 60
"""A killed container that is still there after this long is the engine's fault."""


class DockerRunner:
    """Runs submissions as containers under one protocol."""

    name = "docker"

    def __init__(self, engine: Engine, protocol: Protocol, lock: Path) -> None:
        self._engine = engine
        self._protocol = protocol
        self._lock = lock

    def describe(self) -> dict[str, str]:
        """Return the engine's versions and the evidence it gives, for the run's description."""
        version = self._engine.version()
        return {
            "docker_engine": version["Version"],
            "docker_api": version["ApiVersion"],
            "oom_evidence": "engine and kernel log" if is_readable() else "engine",
        }

    def prepare(self, team: Team, build_args: Mapping[str, str], build_log: Path) -> Submission:
        """Return the team's submission as an image; builds or loads it if need be."""
        return make_image(self._engine, team, build_args, build_log)

    def clear_leftovers(self) -> int:
        """Remove containers that killed harnesses left behind, and return how many."""
        try:
            found = self._engine.containers(all=True, filters={"label": LOCK_LABEL})
            dead = [entry for entry in found if self._is_leftover(entry["Labels"][LOCK_LABEL])]
            for entry in dead:
                self._remove(entry["Id"])
        except ENGINE_FAILURES as error:
            raise EngineError(f"containers of earlier runs cannot be removed: {error}") from error
        return len(dead)

    def run_case(self, submission: Submission, case: str, folders: Folders) -> CaseRun:
        """Run a case to its end or its limit; the container is gone when this returns.

        Raises HarnessFault when the engine fails.
        """
        container = ""
        try:
            try:
                container = self._create(submission, case, folders)
                with OomWitness() as witness:
                    return self._observe(container, witness)
            finally:
                if container:
                    self._remove(container)
        except ENGINE_FAILURES as error:
            raise HarnessFault(f"{case}: Docker Engine failed: {error}") from error

    def close(self) -> None:
        """Close the connection."""
        self._engine.close()

    def _create(self, submission: Submission, case: str, folders: Folders) -> str:
        container: dict[str, Any] = self._engine.create_container(
            image=submission.digest,
            command=list(self._protocol.command) or None,
            user=self._protocol.user or None,
            labels={LOCK_LABEL: str(self._lock), CASE_LABEL: f"{submission.team.name}/{case}"},
            host_config=self._host_config(folders),
        )
        return str(container["Id"])

    def _host_config(self, folders: Folders) -> dict[str, Any]:
        """Return the limits of the protocol in the engine's words."""
        protocol = self._protocol
        fresh = not protocol.keep_folders
        # programs may unpack libraries there, hence exec
        tmpfs = f"rw,exec,nosuid,nodev,size={protocol.tmp_bytes},mode=1777"
        config: dict[str, Any] = self._engine.create_host_config(
            mounts=[
                Mount(protocol.inputs_at, str(folders.inputs), type="bind", read_only=fresh),
                Mount(protocol.outputs_at, str(folders.outputs), type="bind"),
            ],
            mem_limit=protocol.memory_bytes,
            memswap_limit=protocol.memory_bytes + protocol.swap_bytes,
            nano_cpus=round(protocol.cpus * 1e9) or None,
            pids_limit=protocol.pids or None,
            network_mode=protocol.network,
            read_only=protocol.read_only_root,
            tmpfs={"/tmp": tmpfs} if protocol.tmp_bytes else None,
            cap_drop=["ALL"] if protocol.drop_capabilities else None,
            security_opt=None if protocol.allow_new_privileges else ["no-new-privileges:true"],
            log_config=LogConfig(
                type=LogConfig.types.JSON,
                config={"max-size": str(protocol.log_limit_bytes), "max-file": "2"},
            ),
        )
        return config

    def _observe(self, container: str, witness: OomWitness) -> CaseRun:
        began = time.monotonic()
        try:
            self._engine.start(container)
        except APIError as error:
            state = self._state(container)
            if state["ExitCode"] not in COMMAND_NOT_RUN:
                raise
            wall_s = time.monotonic() - began
            reason = " ".join(str(error.explanation).split())
            return CaseRun(wall_s, state["ExitCode"], b"", start_error=reason)
        timed_out = not self._wait(container, began + self._protocol.time_limit_s)
        wall_s = time.monotonic() - began
        if timed_out:
            self._kill(container)
        state = self._state(container)
        return CaseRun(
            wall_s=wall_s,
            exit_code=state["ExitCode"],
            log=self._log(container),
            timed_out=timed_out,
            oom_killed=state["OOMKilled"] or witness.saw(container),
        )

    def _wait(self, container: str, deadline: float) -> bool:
        """Return True when the container has ended, False when the deadline came first."""
        while (left := deadline - time.monotonic()) > 0:
            try:
                self._engine.wait(container, timeout=left)
                return True
            except (ReadTimeout, EngineSilence):
                # the deadline, or a broken connection: an engine that is gone fails here
                if not self._state(container)["Running"]:
                    return True
        return False

    def _kill(self, container: str) -> None:
        try:
            self._engine.kill(container)
        except APIError:
            if self._state(container)["Running"]:
                raise
        self._engine.wait(container, timeout=KILL_WAIT_S)

    def _log(self, container: str) -> bytes:
        """Return the end of the container's output; the engine itself keeps at most twice as much.

        The engine does not tell whether it dropped anything, but if it did, a whole file is left.
        """
        limit_bytes = self._protocol.log_limit_bytes
        log: bytes = self._engine.logs(container, stdout=True, stderr=True)
        stored_bytes = len(log) + LOG_ENTRY_BYTES * log.count(b"\n")
        return shorten(log, limit_bytes, is_end=stored_bytes >= limit_bytes)

    def _state(self, container: str) -> dict[str, Any]:
        state: dict[str, Any] = self._engine.inspect_container(container)["State"]
        return state

    def _remove(self, container: str) -> None:
        """Kill and remove a container with its anonymous volumes; one that is gone is fine."""
        try:
            self._engine.remove_container(container, v=True, force=True)
        except APIError as error:
            # 404: gone; 409: the engine is removing it already
            if error.response is None or error.response.status_code not in (404, 409):
                raise

    def _is_leftover(self, lock: str) -> bool:
        return lock == str(self._lock) or is_abandoned(Path(lock))
