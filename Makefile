# `make help` lists the targets. Everything runs in .venv, made on first use.
SHELL := /bin/bash
PYTHON ?= python3
RUN ?= default
BIN := .venv/bin
SOURCES := $(if $(ONLY),$(ONLY:%=notebooks/%.py),$(sort $(wildcard notebooks/[0-9]*.py)))

# The plainest x86-64 processor: no AVX in torch, numpy, their BLAS and libm (MKL: on Intel only).
PLAIN := ATEN_CPU_CAPABILITY=default ONEDNN_MAX_CPU_ISA=SSE41 MKL_ENABLE_INSTRUCTIONS=SSE4_2 \
  OPENBLAS_CORETYPE=Nehalem NPY_DISABLE_CPU_FEATURES="X86_V3 X86_V4 AVX512_ICL AVX512_SPR" \
  GLIBC_TUNABLES=glibc.cpu.hwcaps=-AVX512F,-AVX2,-AVX,-FMA
NUMERIC := covarep covarep_reference daf train frozen dyfulm multitask stack text encoders finetune \
  compressed alignment metrics stats interpret_dyfulm synthetic synthetic_reviews disentangled features

export JUPYTER_PREFER_ENV_PATH := 1
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: help setup run rerun notebooks test lint numeric fuzz drill book benchmark lock
.DEFAULT_GOAL := help

help:  ## list the targets
	@sed -nE 's/^([a-z]+):.*## (.*)/make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 18

setup: .venv/.installed  ## make .venv and install pinned dependencies and the project

.venv/.installed: pyproject.toml requirements.lock
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	  echo "$(PYTHON) is missing or older than Python 3.11: name another, e.g. make PYTHON=python3.12" >&2; exit 1; }
	test -x $(BIN)/pip || $(PYTHON) -m venv .venv
	$(BIN)/pip install --constraint requirements.lock --editable '.[cluster,lexicon,offline,parquet,sentencepiece,test]'
	@touch $@

run: setup  ## execute the notebooks (DATASET=mosi RUN=mosi ONLY="02_daf 08_results" PARAMS=file.yaml)
	@$(BIN)/python -m mmlib.batch --run $(RUN) $(if $(DATASET),--dataset $(DATASET)) \
	  $(if $(PARAMS),--params $(PARAMS)) $(if $(ONLY),--only $(ONLY))

rerun: setup  ## every point of a grid that is not up to date (GRID=smoke WORKERS=2)
	@$(BIN)/python -m mmlib.batch $(or $(GRID),$(error name a grid: make rerun GRID=smoke)) $(if $(WORKERS),--workers $(WORKERS))

# One thread: sums keep their order, so that a run, the stored outputs and the tests agree.
run rerun notebooks test numeric fuzz drill: export OMP_NUM_THREADS := 1

notebooks: setup  ## make the reference run: every .ipynb anew from its .py (ONLY=02_daf)
	@set -e; for source in $(SOURCES); do \
	  notebook=$${source%.py}.ipynb; echo "$$notebook"; \
	  $(BIN)/python -m mmlib.batch.pairs $$notebook; \
	  $(BIN)/jupytext --to ipynb --update --quiet $$source; \
	  $(BIN)/python notebooks/conftest.py $$(basename $$source .py); \
	  $(BIN)/jupyter execute --inplace --NbClientApp.log_level=ERROR \
	    --NotebookClient.record_timing=False $$notebook; \
	  $(BIN)/nbstripout --keep-output --keep-count $$notebook; \
	done

lint: setup  ## ruff, as a check
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

test: lint  ## lint, pytest, and every notebook against its stored outputs
	$(BIN)/python -m pytest tests -n 2 --dist loadscope
	$(BIN)/python -m pytest notebooks --nbval --nbval-current-env --nbval-cell-timeout 600 \
	  --nbval-sanitize-with notebooks/sanitize.cfg -n 2 --dist loadscope

numeric: setup  ## the tests of numbers once more, rounded as by the plainest x86-64 processor
	$(PLAIN) $(BIN)/python -m pytest $(NUMERIC:%=tests/test_%.py) -n 2 --dist loadscope

fuzz: setup  ## minutes: 4,000 damaged files of every format; each gets a result or one line
	$(BIN)/python tests/fuzz.py

drill: setup  ## minutes: workers and driver killed in a grid, 500 clips, 09 in a browser if there is one
	$(BIN)/python -m pytest tests -m slow -rs -n 2 --dist loadscope

book: .book/.installed  ## the notebooks and pages as a website, site/html/index.html; nothing is executed
	rm -rf site
	.book/bin/sphinx-build -q -W --keep-going -b html -c notebooks/book notebooks site/html
	@echo "open site/html/index.html"

# In an environment of its own: the notebooks need nothing of it.
.book/.installed: notebooks/book/requirements.txt
	test -x .book/bin/pip || $(PYTHON) -m venv .book
	.book/bin/pip install --requirement $<
	@touch $@

benchmark: setup  ## speed and memory, as ratios measured in one run
	@set -e; for script in $(filter-out %/card.py %/compression.py %/repeated.py %/static8.py,$(sort $(wildcard tests/benchmarks/*.py))); do \
	  echo "$$script"; $(BIN)/python $$script; done

lock: setup  ## pin what .venv holds: names and versions, torch without its CUDA parts
	$(BIN)/pip freeze --all --exclude-editable --exclude pip | sed -E 's/\+[a-z0-9.]+$$//' \
	  | grep -vE '^(nvidia|triton|cuda)' > requirements.lock.part
	mv requirements.lock.part requirements.lock
