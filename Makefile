# make up · make test · make demo · make lint · make bench
PYTHON ?= python3
VENV ?= .venv
# Where torch comes from, e.g. TORCH_INDEX=https://download.pytorch.org/whl/cpu; empty: pip's default index.
TORCH_INDEX ?=
BIN := $(VENV)/bin
KERNELS := service/engines/local/native trainer/compute/native
PYTEST := $(BIN)/python -m pytest
QUICK := -m "not slow and not cuda"
# Tests that keep all cores busy, or kill and wait: they get the machine to themselves.
ALONE := $(addprefix tests/e2e/test_,canary.py kills.py story.py swap.py) tests/integration/test_exact.py
TORCH := $(shell sed -n 's/^torch==/torch==/p' constraints.txt)

.PHONY: up test demo lint format bench soak screenshots clean
.DELETE_ON_ERROR:

up: $(VENV)/installed
	@$(BIN)/burnish up

demo: $(VENV)/installed
	@$(BIN)/burnish demo --report demo-report.html $(DEMO)

# Two files at a time, then the others.
test: $(VENV)/installed-dev
	$(BIN)/burnish model prepare
ifdef TESTS
	$(PYTEST) $(QUICK) $(TESTS)
else
	$(PYTEST) $(QUICK) --numprocesses 2 --dist loadfile --no-loadscope-reorder $(addprefix --ignore=,$(ALONE))
	$(PYTEST) $(QUICK) $(ALONE)
endif

lint: $(VENV)/installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(VENV)/installed-dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(VENV)/installed-dev
	$(BIN)/burnish bench

soak: $(VENV)/installed-dev
	$(BIN)/burnish model prepare
	$(PYTEST) -m slow $(TESTS)

screenshots: $(VENV)/installed-dev
	$(BIN)/burnish model prepare
	$(BIN)/python tests/screenshots.py docs/screenshots

clean:
	rm -rf $(VENV) build $(addsuffix /*.so,$(KERNELS)) *.egg-info .mypy_cache .ruff_cache .pytest_cache

$(VENV)/installed: pyproject.toml constraints.txt $(wildcard $(addsuffix /*.cpp,$(KERNELS)) $(addsuffix /*.h,$(KERNELS)))
	$(PYTHON) -c 'import sys; sys.exit("Burnish needs Python 3.11 or newer: make PYTHON=python3.11" if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX)) "$(TORCH)"
	$(BIN)/python -m pip install --quiet -c constraints.txt -e .
	touch $@

$(VENV)/installed-dev: $(VENV)/installed
	$(BIN)/python -m pip install --quiet -c constraints.txt -e ".[dev]"
	touch $@
