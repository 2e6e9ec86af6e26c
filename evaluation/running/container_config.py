"""A protocol in the words of Docker Engine."""

from collections.abc import Sequence
from typing import Any

from docker.types import LogConfig, Mount, Ulimit

from evaluation.running.engine import Engine
from evaluation.running.protocol import Protocol
from evaluation.running.staging import Folders


def host_config(
    engine: Engine,
    protocol: Protocol,
    folders: Folders,
    cpuset: str,
    parent: str,
    volumes: Sequence[Mount] = (),
) -> dict[str, Any]:
    """Return the limits and mounts of a container.

    ``cpuset`` is its processors, ``parent`` the cgroup that it is put into; empty for no choice.
    ``volumes`` are mounted beside inputs and outputs.
    """
    config: dict[str, Any] = engine.create_host_config(
        mounts=[
            Mount(
                protocol.inputs_at,
                str(folders.inputs),
                type="bind",
                read_only=not protocol.keep_folders,
            ),
            Mount(protocol.outputs_at, str(folders.outputs), type="bind"),
            *volumes,
        ],
        mem_limit=protocol.memory_bytes,
        memswap_limit=protocol.memory_bytes + protocol.swap_bytes,
        nano_cpus=round(protocol.cpus * 1e9) or None,
        cpuset_cpus=cpuset or None,
        cgroup_parent=f"/{parent}" if parent else None,
        pids_limit=protocol.pids or None,
        network_mode=protocol.network,
        read_only=protocol.read_only_root,
        tmpfs=_tmpfs(protocol),
        cap_drop=["ALL"] if protocol.drop_capabilities else None,
        security_opt=None if protocol.allow_new_privileges else ["no-new-privileges:true"],
        ulimits=_ulimits(protocol),
        log_config=LogConfig(
            type=LogConfig.types.JSON,
            config={"max-size": str(protocol.log_limit_bytes), "max-file": "2"},
        ),
    )
    return config


def _tmpfs(protocol: Protocol) -> dict[str, str] | None:
    # programs may unpack libraries there, hence exec
    options = f"rw,exec,nosuid,nodev,size={protocol.tmp_bytes},mode=1777"
    return {"/tmp": options} if protocol.tmp_bytes else None


def _ulimits(protocol: Protocol) -> list[Any] | None:
    """Return the kernel's own limit on one file, which holds between two looks at the quota.

    It holds on /tmp as well, so it is never below what /tmp can take.
    """
    if protocol.keep_folders:
        return None
    most = max(protocol.output_limit_bytes, protocol.tmp_bytes)
    return [Ulimit(name="fsize", soft=most, hard=most)]
