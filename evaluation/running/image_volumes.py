"""Volumes that an image declares (``VOLUME`` in its Dockerfile), made read-only.

Docker Engine gives each container of such an image a new volume, writable and without any limit,
also where the root file system is read-only: a submission could fill the disk there, beyond every
quota. Under a read-only root these places are read-only as well. They hold what the image has
there, and since nobody can write to it, one volume serves all cases of a run.
"""

import hashlib
from collections.abc import Callable
from pathlib import PurePosixPath

from docker.types import Mount

from evaluation.errors import TeamError
from evaluation.running.container import Container
from evaluation.running.engine import Engine
from evaluation.running.protocol import Protocol
from evaluation.running.teams import Submission


class ImageVolumes:
    """The read-only volumes of the submissions of one run."""

    def __init__(self, engine: Engine, protocol: Protocol, labels: dict[str, str]) -> None:
        """Use volumes with ``labels``, by which they are found and removed again."""
        self._engine, self._protocol, self._labels = engine, protocol, labels
        self._mounts: dict[str, list[Mount]] = {}

    def check(self, submission: Submission) -> None:
        """Raise TeamError for a volume above the mount points, which could not be made there."""
        ours = [PurePosixPath(self._protocol.inputs_at), PurePosixPath(self._protocol.outputs_at)]
        for place in self._declared(submission):
            if any(PurePosixPath(place) in path.parents for path in ours):
                raise TeamError(
                    f"team {submission.team.name}: expected no VOLUME above {ours[0]} and "
                    f"{ours[1]}, found VOLUME {place}; take that line out of the Dockerfile"
                )

    def mounts(self, submission: Submission) -> list[Mount]:
        """Return the mounts that make a submission's volumes read-only."""
        if submission.digest not in self._mounts:
            self._mounts[submission.digest] = [
                Mount(place, self._make(submission, place), type="volume", read_only=True)
                for place in self._declared(submission)
            ]
        return self._mounts[submission.digest]

    def fill(self, submission: Submission) -> None:
        """Let the engine fill the volumes from the image, before two cases do it at once."""
        if mounts := self.mounts(submission):
            config = self._engine.create_host_config(mounts=mounts)
            words = {"labels": self._labels, "host_config": config}
            made = self._engine.create_container(submission.digest, ["none"], **words)
            Container(self._engine, made["Id"]).remove()

    def remove(self, is_leftover: Callable[[dict[str, str]], bool]) -> None:
        """Remove the volumes of this run and of dead ones, told by their labels."""
        filters = {"label": list(self._labels)}
        for volume in self._engine.volumes(filters=filters)["Volumes"] or []:
            if is_leftover(volume["Labels"]):
                self._engine.remove_volume(volume["Name"], force=True)
        self._mounts.clear()

    def _declared(self, submission: Submission) -> list[str]:
        """Return the places of the volumes that are not mounted over anyway."""
        if not self._protocol.read_only_root:
            return []
        volumes = self._engine.inspect_image(submission.digest)["Config"].get("Volumes") or {}
        taken = {PurePosixPath(self._protocol.inputs_at), PurePosixPath(self._protocol.outputs_at)}
        taken |= {PurePosixPath("/tmp")} if self._protocol.tmp_bytes else set()
        return sorted(place for place in volumes if PurePosixPath(place) not in taken)

    def _make(self, submission: Submission, place: str) -> str:
        """Return the name of a volume; Docker fills it from the image when it is first mounted."""
        words = "\0".join([submission.digest, place, *self._labels.values()])
        name = f"medsam-laptop-{hashlib.sha256(words.encode()).hexdigest()[:32]}"
        self._engine.create_volume(name, labels=self._labels)
        return name
