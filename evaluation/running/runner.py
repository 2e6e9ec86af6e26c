"""Runs one case in one fresh container of Docker Engine."""

import hashlib
import time
import uuid
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from docker.errors import APIError
from requests.exceptions import ConnectionError as EngineSilence
from requests.exceptions import ReadTimeout

from evaluation.errors import EngineError, HarnessFault
from evaluation.running.case_watch import CaseWatch
from evaluation.running.cgroups import Cgroup, can_hold_cases, find_container, remove_all
from evaluation.running.container_config import host_config
from evaluation.running.engine import ENGINE_FAILURES, Engine, engine_info
from evaluation.running.host import describe_engine_host, hardware_key
from evaluation.running.images import make_image
from evaluation.running.kernel_log import OomWitness, is_readable
from evaluation.running.limits import check_cgroup, check_host_config, in_force
from evaluation.running.logs import shorten
from evaluation.running.outcomes import CaseRun
from evaluation.running.protocol import Protocol
from evaluation.running.quota import Quota
from evaluation.running.run_folder import is_abandoned
from evaluation.running.staging import Folders
from evaluation.running.teams import Submission, Team

LOCK_LABEL = "medsam-laptop.lock"
"""Container label: the lock file of the run that made it, by which leftovers are known."""

CASE_LABEL = "medsam-laptop.case"
"""Container label: the team and the case that it runs."""

CGROUP_PREFIX = "medsam-laptop-"
"""Start of the names of the cgroups that cases run in."""

COMMAND_NOT_RUN = (126, 127)
"""Docker's exit codes for a command that cannot be executed, or is not there."""

LOG_ENTRY_BYTES = 70
"""What the engine's json-file log stores beside the text of a line, at least."""

KILL_WAIT_S = 60
"""A killed container that is still there after this long is the engine's fault."""


class DockerRunner:
    """Runs submissions as containers under one protocol."""

    name = "docker"

    def __init__(self, engine: Engine, protocol: Protocol, lock: Path, cpuset: str = "") -> None:
        """Run under ``protocol``, on the processors ``cpuset`` (empty: on all)."""
        self._engine = engine
        self._protocol = protocol
        self._lock = lock
        self._cpuset = cpuset
        self._cgroups = f"{CGROUP_PREFIX}{hashlib.sha256(str(lock).encode()).hexdigest()[:16]}"
        info = engine_info(engine)
        self._has_parents = can_hold_cases(str(info["CgroupDriver"]))
        self.machine = describe_engine_host(engine, info)
        self.hardware = hardware_key(self.machine, protocol, cpuset)

    def describe(self) -> dict[str, str]:
        """Return the engine's versions and the evidence it gives, for the run's description."""
        version = self._engine.version()
        return {
            "docker_engine": version["Version"],
            "docker_api": version["ApiVersion"],
            "oom_evidence": "engine and kernel log" if is_readable() else "engine",
            "cgroup_evidence": "a cgroup a case" if self._has_parents else "the container's own",
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
        if self._has_parents:
            remove_all(self._cgroups)
        return len(dead)

    def run_case(self, submission: Submission, case: str, folders: Folders) -> CaseRun:
        """Run a case to its end or its limit; the container is gone when this returns.

        Raises HarnessFault when the engine fails, LimitError when a limit is not in force.
        """
        return self.run_command(submission, case, folders, self._protocol.command)

    def run_command(
        self, submission: Submission, case: str, folders: Folders, command: Sequence[str]
    ) -> CaseRun:
        """Run any command in place of the protocol's, under the same limits."""
        began = time.monotonic()
        parent = f"{self._cgroups}-{uuid.uuid4().hex[:8]}" if self._has_parents else ""
        container = ""
        try:
            try:
                container = self._create(submission, case, folders, command, parent)
                with OomWitness() as witness, self._watch(container, folders, parent) as watch:
                    run = self._observe(container, witness)
                run = self._with_evidence(run, container, watch, Cgroup(parent) if parent else None)
            finally:
                if container:
                    self._remove(container)
                if parent:
                    Cgroup(parent).remove()
        except ENGINE_FAILURES as error:
            raise HarnessFault(f"{case}: Docker Engine failed: {error}") from error
        return replace(run, turnaround_s=time.monotonic() - began)

    def close(self) -> None:
        """Close the connection."""
        self._engine.close()

    def _create(
        self,
        submission: Submission,
        case: str,
        folders: Folders,
        command: Sequence[str],
        parent: str,
    ) -> str:
        container: dict[str, Any] = self._engine.create_container(
            image=submission.digest,
            command=list(command) or None,
            user=self._protocol.user or None,
            labels={LOCK_LABEL: str(self._lock), CASE_LABEL: f"{submission.team.name}/{case}"},
            host_config=host_config(self._engine, self._protocol, folders, self._cpuset, parent),
        )
        return str(container["Id"])

    def _watch(self, container: str, folders: Folders, parent: str) -> CaseWatch:
        protocol = self._protocol
        writable = [folders.outputs, *([folders.inputs] if protocol.keep_folders else [])]
        own = Cgroup(parent).child(container) if parent else None

        def find() -> Cgroup | None:
            if own is None:
                return find_container(container)
            return own if own.exists else None

        def kill() -> None:
            with suppress(*ENGINE_FAILURES):
                self._engine.kill(container)

        return CaseWatch(
            find,
            lambda limits: check_cgroup(limits, protocol, self._cpuset),
            Quota(writable, protocol.output_limit_bytes, protocol.output_files),
            kill,
            sampled=own is None,
        )

    def _with_evidence(
        self, run: CaseRun, container: str, watch: CaseWatch, parent: Cgroup | None
    ) -> CaseRun:
        """Return the run with what its cgroup and its folders tell; its limits must have held."""
        found = self._engine.inspect_container(container)["HostConfig"]
        told = check_host_config(found, self._protocol, self._cpuset)
        if watch.limits is not None:
            check_cgroup(watch.limits, self._protocol, self._cpuset)
        elif self._has_parents and not run.start_error:
            raise HarnessFault("the container's cgroup was not seen, so that no limit is proved")
        usage = parent.usage() if parent else watch.usage
        version = parent.version if parent else Cgroup("").version
        return replace(
            run,
            oom_killed=run.oom_killed or bool(usage.oom_kills),
            limits=in_force(told, watch.limits, version),
            cpu_s=usage.cpu_s,
            peak_bytes=usage.peak_bytes,
            written_bytes=watch.measure().size_bytes + self._layer_bytes(container),
            excess=watch.excess,
            network_attempts=watch.network_attempts,
            cpuset=self._cpuset,
        )

    def _layer_bytes(self, container: str) -> int:
        """Return what was written elsewhere in the container, where it can write elsewhere."""
        if self._protocol.read_only_root:
            return 0
        (entry,) = self._engine.containers(all=True, size=True, filters={"id": container})
        return int(entry.get("SizeRw", 0))

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
