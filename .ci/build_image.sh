#!/usr/bin/env bash
# Builds the image:   [BASE=image] .ci/build_image.sh [TAG]
# Without BASE: the Dockerfile's default base if it is here or can be pulled, else the one that
# base_image.sh makes.
set -euo pipefail
cd "$(dirname "$0")/.."
. .ci/progress.sh

readonly TAG=${1:-medsam-laptop:latest}
readonly OWN_BASE=medsam-laptop-base:bookworm
readonly LOG=build/image.log
readonly PULL_PATIENCE_S=300
default_base=$(sed -n 's/^ARG BASE=//p' Dockerfile)

is_here() {
    docker image inspect "$1" >/dev/null 2>&1
}

choose_base() {
    if is_here "$default_base"; then
        echo "$default_base"
    elif problem=$(timeout "$PULL_PATIENCE_S" docker pull "$default_base" 2>&1 >/dev/null); then
        echo "$default_base"
    else
        echo "image: $default_base cannot be pulled (${problem:-no answer})" >&2
        if [ "$(id -u)" = 0 ] && command -v debootstrap >/dev/null; then
            .ci/base_image.sh "$OWN_BASE" >&2 || return 1
        elif ! is_here "$OWN_BASE"; then
            echo "image: make a base with 'sudo apt-get install debootstrap' and" \
                "'sudo .ci/base_image.sh', or name one: make image BASE=IMAGE" >&2
            return 1
        fi
        echo "$OWN_BASE"
    fi
}

docker version >/dev/null 2>&1 || { echo "image: expected a Docker Engine, none answers" >&2; exit 1; }
base=${BASE:-$(choose_base)}
[ -n "$base" ] || exit 1
flags=()
for name in PIP_INDEX_URL http_proxy https_proxy no_proxy HTTP_PROXY HTTPS_PROXY NO_PROXY; do
    [ -z "${!name:-}" ] || flags+=(--build-arg "$name")
done
echo "image: building $TAG on $base (log: $LOG)" >&2
if ! docker buildx version >/dev/null 2>&1; then
    export DOCKER_BUILDKIT=0 # the engine's own builder; the client cannot ask for the other one
fi
mkdir -p "$(dirname "$LOG")"
: >"$LOG"
docker build --build-arg BASE="$base" ${flags[@]+"${flags[@]}"} --tag "$TAG" . 2>&1 |
    show_progress "image" "$LOG" '^Step ([0-9]+)/([0-9]+) |^#[0-9]+ \[' ||
    { tail -n 20 "$LOG" >&2; exit 1; }
docker image inspect --format "image: $TAG, {{.Size}} bytes" "$TAG" >&2
