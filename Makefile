# make help says what there is. The scripts behind it are in .ci/.
.DEFAULT_GOAL := help
.PHONY: help setup image demo test clean

IMAGE ?= medsam-laptop:latest
PYTEST_FLAGS ?=
BIN := .venv/bin

export IMAGE
export PYTHONUTF8 := 1
# ONNX Runtime reports its use to its maker unless told not to.
export ORT_DISABLE_TELEMETRY := 1

help: ## list these targets
	@grep -E '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## /make \1\t/' | expand -t 14

setup: .venv/ready ## make the virtual environment .venv (PYTHON=... chooses the interpreter)

.venv/ready: requirements.txt requirements-dev.txt
	@.ci/setup.sh

image: ## build the image (IMAGE=... names it, BASE=... chooses what it is built on)
	@.ci/build_image.sh $(IMAGE)

demo: setup ## build image, run it on the demo cases, score, leaderboard, report
	@.ci/demo.sh

test: setup ## all checks and tests
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check --quiet
	@$(BIN)/mypy --strict inference evaluation data_splits
	@$(BIN)/python -m pytest $(PYTEST_FLAGS)

clean: ## remove the virtual environment, caches and the demo run
	rm -rf .venv build runs/demo .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
