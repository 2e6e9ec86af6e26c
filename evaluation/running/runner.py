"""Runs one case in one fresh container of Docker Engine."""

import hashlib
import threading
import time
import uuid
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from docker.errors import APIError

from evaluation.errors import EngineError, HarnessFault
from evaluation.running.case_watch import CaseWatch
from evaluation.running.cgroups import Cgroup, can_hold_cases, find_container, remove_all
from evaluation.running.container import Container
from evaluation.running.container_config import host_config
from evaluation.running.engine import ENGINE_FAILURES, Engine, engine_info
from evaluation.running.host import describe_engine_host, hardware_key
from evaluation.running.image_volumes import ImageVolumes
from evaluation.running.images import make_image
from evaluation.running.kernel_log import OomWitness, is_readable
from evaluation.running.limits import check_cgroup, check_host_config, in_force
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


class DockerRunner:
    """Runs submissions as containers under one protocol."""

    name = "docker"

    def __init__(self, engine: Engine, protocol: Protocol, lock: Path, cpuset: str = "") -> None:
        """Run under ``protocol``, on the processors ``cpuset`` (empty: on all)."""
        self._engine = engine
        self._protocol = protocol
        self._lock = lock
        self._cpuset = cpuset
        self._stopped = threading.Event()
        self.cgroups = f"{CGROUP_PREFIX}{hashlib.sha256(str(lock).encode()).hexdigest()[:16]}"
        self._volumes = ImageVolumes(engine, protocol, {LOCK_LABEL: str(lock)})
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
        submission = make_image(self._engine, team, build_args, build_log)
        self._volumes.check(submission)
        self._volumes.fill(submission)
        return submission

    def clear_leftovers(self) -> int:
        """Remove containers that killed harnesses left behind, and return how many."""
        try:
            found = self._engine.containers(all=True, filters={"label": LOCK_LABEL})
            dead = [entry for entry in found if self._is_leftover(entry["Labels"][LOCK_LABEL])]
            for entry in dead:
                Container(self._engine, entry["Id"]).remove()
            self._volumes.remove(lambda labels: self._is_leftover(labels[LOCK_LABEL]))
        except ENGINE_FAILURES as error:
            raise EngineError(f"containers of earlier runs cannot be removed: {error}") from error
        if self._has_parents:
            remove_all(self.cgroups)
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
        parent = f"{self.cgroups}-{uuid.uuid4().hex[:8]}" if self._has_parents else ""
        container: Container | None = None
        try:
            try:
                self._check_stopped(case)
                container = self._create(submission, case, folders, command, parent)
                self._check_stopped(case)  # whoever stopped us may not have seen this container
                with OomWitness() as witness, self._watch(container, folders, parent) as watch:
                    run = self._observe(container, witness)
                run = self._with_evidence(run, container, watch, Cgroup(parent) if parent else None)
            finally:
                if container:
                    container.remove()
                if parent:
                    Cgroup(parent).remove()
        except ENGINE_FAILURES as error:
            raise HarnessFault(f"{case}: Docker Engine failed: {error}") from error
        return replace(run, turnaround_s=time.monotonic() - began)

    def stop(self) -> None:
        """Start no more containers; those that run have to be cleared away after this."""
        self._stopped.set()

    def close(self) -> None:
        """Close the connection."""
        self._engine.close()

    def _check_stopped(self, case: str) -> None:
        if self._stopped.is_set():
            raise HarnessFault(f"{case}: stopped")

    def _create(
        self,
        submission: Submission,
        case: str,
        folders: Folders,
        command: Sequence[str],
        parent: str,
    ) -> Container:
        made: dict[str, Any] = self._engine.create_container(
            image=submission.digest,
            command=list(command) or None,
            user=self._protocol.user or None,
            labels={LOCK_LABEL: str(self._lock), CASE_LABEL: f"{submission.team.name}/{case}"},
            host_config=host_config(
                self._engine,
                self._protocol,
                folders,
                self._cpuset,
                parent,
                self._volumes.mounts(submission),
            ),
        )
        return Container(self._engine, str(made["Id"]))

    def _watch(self, container: Container, folders: Folders, parent: str) -> CaseWatch:
        protocol = self._protocol
        writable = [folders.outputs, *([folders.inputs] if protocol.keep_folders else [])]
        own = Cgroup(parent).child(container.id) if parent else None

        def find() -> Cgroup | None:
            if own is None:
                return find_container(container.id)
            return own if own.exists else None

        def kill() -> None:
            with suppress(*ENGINE_FAILURES):
                container.signal_kill()

        return CaseWatch(
            find,
            lambda limits: check_cgroup(limits, protocol, self._cpuset),
            Quota(writable, protocol.output_limit_bytes, protocol.output_files),
            kill,
            sampled=own is None,
        )

    def _with_evidence(
        self, run: CaseRun, container: Container, watch: CaseWatch, parent: Cgroup | None
    ) -> CaseRun:
        """Return the run with what its cgroup and its folders tell; its limits must have held."""
        told = check_host_config(container.host_config(), self._protocol, self._cpuset)
        if watch.limits is not None:
            check_cgroup(watch.limits, self._protocol, self._cpuset)
        elif self._has_parents and not run.start_error:
            raise HarnessFault("the container's cgroup was not seen, so that no limit is proved")
        usage = parent.usage() if parent else watch.usage
        version = parent.version if parent else Cgroup("").version
        in_layer = 0 if self._protocol.read_only_root else container.layer_bytes()
        return replace(
            run,
            oom_killed=run.oom_killed or bool(usage.oom_kills),
            limits=in_force(told, watch.limits, version),
            cpu_s=usage.cpu_s,
            peak_bytes=usage.peak_bytes or watch.most_bytes,
            written_bytes=watch.measure().size_bytes + in_layer,
            excess=watch.excess,
            network_attempts=watch.network_attempts,
            cpuset=self._cpuset,
        )

    def _observe(self, container: Container, witness: OomWitness) -> CaseRun:
        began = time.monotonic()
        try:
            container.start()
        except APIError as error:
            exit_code = container.state()["ExitCode"]
            if exit_code not in COMMAND_NOT_RUN:
                raise
            wall_s = time.monotonic() - began
            reason = " ".join(str(error.explanation).split())
            return CaseRun(wall_s, exit_code, b"", start_error=reason)
        timed_out = not container.wait(began + self._protocol.time_limit_s)
        wall_s = time.monotonic() - began
        if timed_out:
            container.kill()
        state = container.state()
        return CaseRun(
            wall_s=wall_s,
            exit_code=state["ExitCode"],
            log=container.log(self._protocol.log_limit_bytes),
            timed_out=timed_out,
            oom_killed=state["OOMKilled"] or witness.saw(container.id),
        )

    def _is_leftover(self, lock: str) -> bool:
        return lock == str(self._lock) or is_abandoned(Path(lock))
