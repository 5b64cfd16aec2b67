# What a person or CI types: every target works on a fresh checkout and makes what it needs.
# Plain enough for GNU make 3.81, the one macOS has.

SHELL := /bin/bash
.DEFAULT_GOAL := help
.PHONY: help lab demo test bench lint notebooks soak constraints clean

VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.eslab-installed
PYTEST_ARGS ?=
LAB_ARGS ?=

help: ## Say what there is (the default)
	@grep -hE '^[a-z]+:.*## ' $(firstword $(MAKEFILE_LIST)) | \
	  awk -F ':.*## ' '{ printf "  make %-12s %s\n", $$1, $$2 }'
	@echo
	@echo "  PYTHON=python3.12 chooses the Python, VENV=folder where its packages go,"
	@echo "  PYTEST_ARGS='-k store' what else pytest is told, LAB_ARGS=--no-browser what JupyterLab is told."

lab: $(STAMP) ## Open JupyterLab on the tour
	$(BIN)/jupyter lab $$([ "$$(id -u)" -ne 0 ] || echo --allow-root) \
	  --LabApp.default_url=/lab/tree/notebooks/00_tour.ipynb \
	  --ContentsManager.pre_save_hook=eslab.testing.notebooks.forget_drawings \
	  --ServerApp.kernel_websocket_connection_class=eslab.widgets.server.PromptConnection $(LAB_ARGS)

demo: $(STAMP) ## Load a year of flights and write a report of it to demo-report/
	$(BIN)/eslab demo --year --out demo-report

test: $(STAMP) ## Run every test, notebooks included
	$(BIN)/python -m pytest $(PYTEST_ARGS)

bench: $(STAMP) ## Measure eslab against its peers; writes bench.json
	$(BIN)/python tests/bench

lint: $(STAMP) ## Check style, types and layers
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

notebooks: $(STAMP) ## Run the notebooks and write their outputs
	$(BIN)/eslab nb update notebooks

soak: $(STAMP) ## Run the tests that can do more than in CI, for as long as it takes
	ESLAB_SOAK=1 $(BIN)/python -m pytest -m soak --timeout=0 $(PYTEST_ARGS)

constraints: ## Find new versions for constraints.txt: needs python3.11, python3.12, python3.13
	python3 .ci/constraints.py python3.11 python3.12 python3.13

clean: ## Remove what these targets made, the environment included
	if [ -e "$(STAMP)" ]; then rm -rf "$(VENV)"; fi
	rm -rf .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis \
	  build dist demo-report bench.json tests/browser/screenshots
	find eslab tests -name __pycache__ -type d -prune -exec rm -rf {} +

# Anew only when the packages may have changed. A half-made environment has no stamp.
$(STAMP): pyproject.toml constraints.txt
	@python="$(PYTHON)"; \
	if [ -z "$$python" ]; then \
	  for candidate in python3.13 python3.12 python3.11 python3 python; do \
	    if "$$candidate" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' \
	      2>/dev/null; then python="$$candidate"; break; fi; \
	  done; \
	fi; \
	if [ -z "$$python" ]; then \
	  echo "eslab needs Python 3.11, 3.12 or 3.13, and none is on the PATH:" >&2; \
	  echo "install one, or name it: make PYTHON=/where/it/is/python3.12" >&2; exit 1; \
	fi; \
	if ! "$$python" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))'; then \
	  echo "eslab needs Python 3.11, 3.12 or 3.13: $$python is none of them" >&2; exit 1; \
	fi; \
	if ! "$$python" -c 'import ensurepip, venv' 2>/dev/null; then \
	  echo "$$python has no venv module: on Debian and Ubuntu, apt install python3-venv" >&2; \
	  exit 1; \
	fi; \
	echo "Making $(VENV) with $$("$$python" --version); this takes a minute or two." && \
	"$$python" -m venv "$(VENV)" && \
	$(BIN)/python -m pip install --quiet --disable-pip-version-check \
	  --constraint constraints.txt --editable '.[dev,bench]' && \
	touch $(STAMP)
