#!/usr/bin/env bash
# Installs and starts a Docker Engine on Debian or Ubuntu, with what the tests need beside it.
# For CI only: nothing that a user starts (make demo, make test) calls this.
set -euo pipefail

readonly LOG_FOLDER=/var/log/medsam-ci
readonly PATIENCE_S=90

fail() {
    local log=$1
    shift
    echo "engine: $*" >&2
    tail -n 30 "$log" >&2 || true
    exit 1
}

engine_answers() {
    timeout 10 docker version >/dev/null 2>&1
}

await_engine() {
    for _ in $(seq "$1"); do
        engine_answers && return
        sleep 1
    done
    return 1
}

start_engine() {
    if [ -d /run/systemd/system ]; then
        systemctl start docker
        return
    fi
    mountpoint -q /sys/fs/cgroup || cgroupfs-mount
    pgrep -x dockerd >/dev/null 2>&1 && return
    # Left by an engine that was killed; the numbers in them may be other processes' by now.
    rm -f /var/run/docker.pid /var/run/docker/containerd/containerd.pid
    setsid nohup dockerd >"$LOG_FOLDER/dockerd.log" 2>&1 </dev/null &
}

mkdir -p "$LOG_FOLDER" 2>/dev/null && [ "$(id -u)" = 0 ] ||
    fail /dev/null "expected root, found user $(id -un)"

wanted=()
command -v dockerd >/dev/null || wanted+=(docker.io cgroupfs-mount iptables ca-certificates)
command -v debootstrap >/dev/null || wanted+=(debootstrap)
command -v busybox >/dev/null || wanted+=(busybox-static)
if [ ${#wanted[@]} -gt 0 ]; then
    echo "engine: installing ${wanted[*]}"
    export DEBIAN_FRONTEND=noninteractive
    { apt-get update && apt-get install -y --no-install-recommends "${wanted[@]}"; } \
        </dev/null >"$LOG_FOLDER/apt.log" 2>&1 || fail "$LOG_FOLDER/apt.log" "apt-get failed"
fi

if ! engine_answers; then
    echo "engine: starting it"
    start_engine
    await_engine "$PATIENCE_S" ||
        fail "$LOG_FOLDER/dockerd.log" "none answers after $PATIENCE_S s; the end of its log:"
fi
echo "engine: $(docker version --format '{{.Server.Version}}')," \
    "storage $(docker info --format '{{.Driver}}')"
