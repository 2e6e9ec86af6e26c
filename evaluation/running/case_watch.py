"""Looks after a running container from a thread of its own: its limits, and what it writes.

It begins before the container does. A container that does nothing ends before the engine has
answered the request to start it; its cgroup, though, is there with its limits before its first
instruction runs.
"""

import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

from evaluation.errors import LimitError
from evaluation.running.cgroups import Cgroup, CgroupLimits, Usage
from evaluation.running.network_witness import NetworkWitness
from evaluation.running.quota import Quota, Written

FIRST_LOOK_S = 0.001
"""Time between two looks until the limits are seen in force."""

LATER_LOOK_S = 0.1
"""Time between two looks afterwards: what a container can write meanwhile is beyond its quota."""

ATTACH_S = 1.0
"""The container's network is looked for this long in short steps; without root it is never seen."""

SETTLE_S = 5.0
"""A container whose limits are wrong this long after its cgroup came to be is killed."""


class CaseWatch:
    """Watches one container, whose cgroup need not be there yet; a context manager."""

    def __init__(
        self,
        find: Callable[[], Cgroup | None],
        check: Callable[[CgroupLimits], None],
        quota: Quota,
        kill: Callable[[], None],
        *,
        sampled: bool,
    ) -> None:
        self.limits: CgroupLimits | None = None
        """As last read before they were found right, or before the container ended."""
        self.usage = Usage()
        """As last read, if ``sampled``: the cgroup of the container goes with it."""
        self.most_bytes: int | None = None
        """The most memory in use at any look; less exact than the kernel's own peak."""
        self.excess = ""
        """What was too much in the outputs; the container has been killed for it."""
        self._find, self._check, self._quota, self._kill = find, check, quota, kill
        self._sampled = sampled
        self.network_attempts: int | None = None
        """Packets for which it had no route out; None if nobody could see."""
        self._network = NetworkWitness()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._over.set()
        self._thread.join()
        self.network_attempts = self._network.attempts()
        self._network.close()

    def measure(self) -> Written:
        """Return what lies in the outputs; whatever is too much counts, though it came late."""
        written = self._quota.measure()
        self.excess = self.excess or self._quota.excess(written)
        return written

    def _look(self) -> None:
        began = measured = time.monotonic()
        settled, wrong_since, pause = False, 0.0, FIRST_LOOK_S
        while not self._over.wait(pause):
            now = time.monotonic()
            if not settled:
                settled = self._see_limits()
                wrong_since = wrong_since or (now if self.limits else 0.0)
            if not self._network.is_attached and (cgroup := self._find()):
                self._network.attach(cgroup.processes())
            hurry_s = ATTACH_S if settled else SETTLE_S
            if (settled and self._network.is_attached) or now > began + hurry_s:
                pause = LATER_LOOK_S
            if now >= measured + LATER_LOOK_S:
                measured = now
                self.measure()
                self._sample()
            if self.excess or (wrong_since and not settled and now > wrong_since + SETTLE_S):
                self._kill()

    def _see_limits(self) -> bool:
        """Return whether the limits are in force by now: runc makes the cgroup, then sets them."""
        cgroup = self._find()
        limits = cgroup.limits() if cgroup else None
        if limits is None:
            return False
        self.limits = limits
        if self._sampled:
            self._sample()
        return self._are_right(limits)

    def _are_right(self, limits: CgroupLimits) -> bool:
        try:
            self._check(limits)
        except LimitError:
            return False
        return True

    def _sample(self) -> None:
        """Note what the kernel may not tell any more once the container has ended."""
        cgroup = self._find()
        if cgroup is None:
            return
        self.most_bytes = max(self.most_bytes or 0, cgroup.memory_bytes() or 0) or None
        if self._sampled and (usage := cgroup.usage()).cpu_s is not None:
            self.usage = usage
