# VENV names the environment: created if it is not there, otherwise used as it is.
# ARGS are overrides for `make compare`, such as ARGS="seed=0,1 trainer.max_epochs=1".
# SWEEP names the folder of runs, logs/$(SWEEP); for `make dashboard` one or several.
# CONSTRAINTS= (empty) installs whatever versions pyproject.toml admits, and keeps a torch of your own.
VENV ?= .venv
PYTHON ?= python3
PORT ?= 6006
SWEEP ?=
CONSTRAINTS ?= constraints.txt

COMPARED := $(or $(SWEEP),mse_vs_cross_entropy)
PY := $(VENV)/bin/python
INSTALLED := $(VENV)/.losslab-installed
ifneq ($(shell command -v uv),)
CREATE = uv venv --quiet --python $(PYTHON) $(VENV)
INSTALL = uv pip install --python $(PY)
else
CREATE = $(PYTHON) -m venv $(VENV)
INSTALL = $(PY) -m pip install --disable-pip-version-check
endif

.PHONY: help setup compare test lint dashboard screenshots

help:           ## this list
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

setup: $(INSTALLED)     ## install into VENV (.venv), again only when the dependencies changed

$(INSTALLED): pyproject.toml $(CONSTRAINTS)
	test -x $(PY) || $(CREATE)
	$(INSTALL) $(if $(CONSTRAINTS),--constraint $(CONSTRAINTS)) --editable '.[dev]'
	touch $@

compare: setup  ## train 3 losses x 10 learning rates x 10 seeds, conclude; without ARGS, draw the loss landscape
	$(PY) scripts/train.py -m experiment=mse_vs_cross_entropy name=$(COMPARED) $(ARGS)
	$(if $(ARGS),,$(PY) scripts/landscape.py logs/$(COMPARED))

test: setup     ## the test suite: CPU only, no network
	PYTHONDONTWRITEBYTECODE= $(PY) -m pytest -n 2 --dist loadfile --no-loadscope-reorder

lint: setup     ## formatting, lint and types
	$(PY) -m ruff format --check
	$(PY) -m ruff check
	$(PY) -m mypy

dashboard: setup        ## the newest sweep, or those of SWEEP, in TensorBoard
	$(PY) scripts/dashboard.py --port $(PORT) $(addprefix logs/,$(SWEEP))

screenshots: setup      ## README's pictures of the dashboards, of SWEEP; needs Chromium
	$(PY) -m tests.browser.screenshots logs/$(COMPARED)
