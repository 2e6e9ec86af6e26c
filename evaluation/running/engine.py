"""The connection to Docker Engine; the only module that knows where it is."""

import os
import socket
from typing import Any

from docker import APIClient
from docker.errors import DockerException
from docker.utils import kwargs_from_env
from requests.exceptions import RequestException

from evaluation.errors import EngineError

Engine = Any
"""The docker SDK's low-level client; the SDK has no type annotations."""

ENGINE_FAILURES = (DockerException, RequestException, OSError)
"""What a request to the engine can raise when the engine refuses, is silent or is gone."""

ENGINE_TIMEOUT_S = 120
"""Longest silence of the engine in an ordinary request; a cold container start takes seconds."""

INSTALL_HINT = "install it (on Debian and Ubuntu: apt-get install docker.io) and start it"


DEFAULT_HOST = "unix:///var/run/docker.sock"
"""Where a local engine listens."""

_PROBE_TIMEOUT_S = 10


def connect(timeout_s: int = ENGINE_TIMEOUT_S) -> Engine:
    """Return a client of the engine named by ``DOCKER_HOST``, or of the local one.

    Raises EngineError, which says how to get an engine, when none answers.
    """
    host = os.environ.get("DOCKER_HOST") or DEFAULT_HOST
    try:
        _probe(host)
        client: Engine = APIClient(version="auto", timeout=timeout_s, **kwargs_from_env())
        client.ping()
    except ENGINE_FAILURES as error:
        raise EngineError(
            f"no Docker Engine answers at {host} ({error}); {INSTALL_HINT}"
        ) from error
    return client


def engine_info(engine: Engine) -> dict[str, Any]:
    """Return what the engine says of itself and its machine, such as ``CgroupDriver``."""
    try:
        info: dict[str, Any] = engine.info()
    except ENGINE_FAILURES as error:
        raise EngineError(f"Docker Engine does not describe itself: {error}") from error
    return info


def is_local(engine: Engine) -> bool:
    """Return whether the engine is on this machine: whether it is talked to by a socket file."""
    return str(engine.base_url).startswith("http+docker://")


def _probe(host: str) -> None:
    """Raise OSError if nobody listens on a local socket; the SDK would leave its own one open."""
    if host.startswith("unix://"):
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            probe.settimeout(_PROBE_TIMEOUT_S)
            probe.connect(host.removeprefix("unix://"))
