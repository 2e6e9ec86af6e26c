#!/usr/bin/env bash
# Makes the virtual environment .venv with everything that make demo and make test need. Called by
# make setup, once for each version of the requirements. PYTHON names the interpreter.
set -euo pipefail
cd "$(dirname "$0")/.."
. .ci/progress.sh

readonly LOG=build/setup.log

find_python() {
    local name
    for name in ${PYTHON:-python3.11 python3 python3.12 python3.13}; do
        if "$name" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null
        then
            command -v "$name"
            return
        fi
    done
    echo "setup: expected Python 3.11, 3.12 or 3.13, found none as ${PYTHON:-python3}" >&2
    return 1
}

make_venv() {
    rm -rf .venv
    "$python" -m venv .venv >>"$LOG" 2>&1 || { rm -rf .venv; return 1; }
}

# Debian's and Ubuntu's Python comes without the means to make a virtual environment.
install_venv() {
    local package
    package=python$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')-venv
    if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
        echo "setup: $python cannot make virtual environments; on Debian and Ubuntu:" \
            "sudo apt-get install $package" >&2
        return 1
    fi
    echo "setup: installing Debian's package $package" >&2
    export DEBIAN_FRONTEND=noninteractive
    { apt-get update && apt-get install -y --no-install-recommends "$package"; } \
        </dev/null >>"$LOG" 2>&1 || { tail -n 20 "$LOG" >&2; return 1; }
}

python=$(find_python)
mkdir -p "$(dirname "$LOG")"
: >"$LOG"
echo "setup: .venv with $("$python" --version) (log: $LOG)" >&2
if ! .venv/bin/python -m pip --version >/dev/null 2>&1; then
    make_venv || { install_venv && make_venv; } || exit 1
fi

install() {
    local name=$1
    shift
    .venv/bin/python -m pip install --disable-pip-version-check --progress-bar off "$@" 2>&1 |
        show_progress "setup, $name" "$LOG" '^(Collecting|Processing|Installing) ' \
            $(($(grep -c '==' "${@: -1}") + 1)) ||
        { tail -n 20 "$LOG" >&2; exit 1; }
}

install "run time" --require-hashes -r requirements.txt
install "evaluation and tests" -r requirements-dev.txt
touch .venv/ready
