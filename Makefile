# On a fresh machine with Python, make and git:
#   make demo    the main job on real photos, ends by itself      make demo IMAGES=~/Pictures WORKERS=2
#   make test    everything a contributor needs to trust a change
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin

.PHONY: demo test most lint check faults releases arm home-assistant bench clean
.DEFAULT_GOAL := help

help:
	@sed -n 's/^#  //p' Makefile
	@echo "  make lint    ruff and mypy"
	@echo "  make check   lint, then test"
	@echo "  make faults  what is lost when workers, brokers, networks and disks fail (LONG=1: more)"
	@echo "  make releases  exports with releases of PyTorch between the oldest and the newest"
	@echo "  make arm     a worker without PyTorch on an emulated Jetson Nano and Raspberry Pi 5: as root, 10 minutes"
	@echo "  make home-assistant  what a real Home Assistant core shows of a fleet (Python 3.13; 700 MB)"
	@echo "  make bench   speed, latency and memory, beside others: an hour (QUICK=1: 12 minutes)"

# A stamp for each extra that has been installed: pip is not asked again until pyproject.toml changes.
$(VENV)/.%: pyproject.toml
	@test -x $(BIN)/python || { echo "creating $(VENV)"; $(PYTHON) -m venv $(VENV); }
	@echo "installing nanofleet[$*] into $(VENV): the first time takes some minutes, most of it is PyTorch"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[$*]'
	@touch $@

demo: $(VENV)/.demo
	@$(BIN)/nanofleet demo $(if $(IMAGES),--images "$(patsubst ~/%,$(HOME)/%,$(IMAGES))") $(if $(WORKERS),--workers $(WORKERS)) $(if $(KEEP),--keep)

# The faults come alone, because they strike at moments that a busy machine moves. A single test: .venv/bin/pytest tests/…
test: most $(if $(TESTS),,faults)

# Three at a time, because most of a test is waiting: two keep two processors half busy.
most: $(VENV)/.dev
	$(BIN)/python -m pytest --numprocesses 3 --dist worksteal $(or $(TESTS),tests --ignore=tests/faults --ignore=tests/arm)

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

check: lint test

faults: $(VENV)/.dev
	$(BIN)/python -m pytest tests/faults $(if $(LONG),--long)

# What the two ends that CI tests do not show: each release in between exports in a way of its own.
releases: $(VENV)/.dev
	.ci/releases $(BIN)/python

# What is emulated, and what that does not show: docs/arm.md
arm: $(VENV)/.dev
	@$(BIN)/python -m tests.arm.build build/arm
	ARM_SYSTEM=build/arm $(BIN)/python -m pytest --verbose -rP tests/arm

# The core has an environment of its own; the tests are those of every contributor.
HOME_ASSISTANT ?= .venv-home-assistant
$(HOME_ASSISTANT)/.installed: .ci/home-assistant
	@.ci/home-assistant $(HOME_ASSISTANT)
	@touch $@

home-assistant: $(VENV)/.dev $(HOME_ASSISTANT)/.installed
	HOME_ASSISTANT=$(HOME_ASSISTANT) $(BIN)/python -m pytest tests/homeassistant

bench: $(VENV)/.bench
	$(BIN)/python -m bench $(WHAT) $(if $(QUICK),--quick) $(if $(PLOTS),--plots "$(PLOTS)")

clean:
	rm -rf $(VENV) dist build .pytest_cache .mypy_cache .ruff_cache
