#!/usr/bin/env bash
# Makes a small Debian image with Python 3.11, for machines that reach Debian's packages but no
# image registry:   .ci/base_image.sh [TAG]
# It needs root and debootstrap. An image that this very script made is kept; remove it to have it
# made anew with Debian's latest updates.
set -euo pipefail

readonly TAG=${1:-medsam-laptop-base:bookworm}
readonly SUITE=bookworm          # the Debian release whose python3 is 3.11
readonly CERTIFICATES=/etc/ssl/certs/ca-certificates.crt

fail() {
    echo "base image $TAG: $*" >&2
    exit 1
}

script_digest=$(sha256sum <"$0" | cut -d ' ' -f 1)
readonly script_digest

docker version >/dev/null 2>&1 || fail "expected a Docker Engine, none answers"
if [ "$(docker image inspect --format '{{index .Config.Labels "made-by"}}' "$TAG" 2>/dev/null)" = \
    "$script_digest" ]; then
    echo "base image $TAG: there already"
    exit 0
fi
[ "$(id -u)" = 0 ] || fail "expected root (debootstrap changes root), found user $(id -un); try sudo"
command -v debootstrap >/dev/null || fail "expected debootstrap, found none: apt-get install debootstrap"

root=$(mktemp -d)
trap 'rm -rf --one-file-system "$root"' EXIT

echo "base image $TAG: installing Debian $SUITE with Python (about a minute)"
if ! debootstrap --variant=minbase --include=python3,python3-venv "$SUITE" "$root/base" \
    >"$root/log" 2>&1; then
    tail -n 20 "$root/log" >&2
    fail "debootstrap did not finish (its last lines are above)"
fi
cd "$root/base"

# What a container that runs one Python program never reads.
rm -rf usr/share/doc usr/share/man usr/share/info usr/share/locale usr/share/zoneinfo \
    usr/share/bash-completion usr/lib/x86_64-linux-gnu/gconv usr/lib/aarch64-linux-gnu/gconv \
    usr/lib/python3*/lib2to3 usr/lib/python3*/pydoc_data usr/lib/python3*/test \
    var/cache/apt/* var/cache/debconf/* var/lib/apt/lists/* var/log/* tmp/* dev/*
mkdir -p var/cache/apt/archives/partial var/lib/apt/lists/partial

# pip in a container trusts whom this machine trusts, a proxy's own certificate for instance.
if [ -r "$CERTIFICATES" ]; then
    cp --dereference "$CERTIFICATES" etc/ssl/certs/ca-certificates.crt
    printf '[global]\ncert = %s\n' "$CERTIFICATES" >etc/pip.conf
fi

tar --numeric-owner -c . | docker import --change 'CMD ["python3"]' \
    --change "LABEL made-by=$script_digest" - "$TAG" >/dev/null
docker image inspect --format "base image $TAG: {{.Size}} bytes" "$TAG"
