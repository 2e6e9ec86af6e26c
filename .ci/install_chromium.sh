#!/usr/bin/env bash
# Installs the browser that the tests look at the report with, and a font for it, on Debian.
# For CI only: nothing that a user starts (make demo, make test) calls this.
set -euo pipefail

readonly LOG=/var/log/medsam-ci/chromium.log

command -v chromium >/dev/null && exit
[ "$(id -u)" = 0 ] || { echo "browser: expected root, found user $(id -un)" >&2; exit 1; }
echo "browser: installing chromium"
mkdir -p "$(dirname "$LOG")"
export DEBIAN_FRONTEND=noninteractive
{ apt-get update && apt-get install -y --no-install-recommends chromium fonts-liberation; } \
    </dev/null >"$LOG" 2>&1 || { echo "browser: apt-get failed" >&2; tail -n 30 "$LOG" >&2; exit 1; }
