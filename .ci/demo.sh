#!/usr/bin/env bash
# The demo: build image, run it on the demo cases, score, leaderboard, report. Called by make demo.
set -euo pipefail
cd "$(dirname "$0")/.."

readonly IMAGE=${IMAGE:-medsam-laptop:latest}
readonly OUT=${OUT:-runs/demo}

if ! docker version >/dev/null 2>&1; then
    echo "demo: no Docker Engine answers: predict.sh runs in a process of its own instead" >&2
    team=(--team medsam-laptop=. --runner process)
elif ! .ci/build_image.sh "$IMAGE"; then
    echo "demo: no image (see above): predict.sh runs in a process of its own instead" >&2
    team=(--team medsam-laptop=. --runner process)
else
    team=(--team "medsam-laptop=$IMAGE" --runner docker)
fi
exec .venv/bin/python -m evaluation all "${team[@]}" \
    --cases examples/cases --truth examples/truth --out "$OUT"
