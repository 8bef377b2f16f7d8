# Two commands do all the set-up on a fresh machine: `make demo` and `make test`.
PYTHON ?= python3
VENV := .venv
PIP := $(VENV)/bin/python -m pip
RUN := $(VENV)/bin
SERVE ?= 1
DEMO := demo

.PHONY: demo test check bench clean

$(VENV)/.engine: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(PIP) install --quiet --upgrade pip
	$(PIP) install --quiet --constraint constraints.txt --editable '.[engine]'
	touch $@

$(VENV)/.test: $(VENV)/.engine
	$(PIP) install --quiet --constraint constraints.txt --editable '.[engine,train,web,cohort,test,lint]'
	touch $@

$(VENV)/.viewer: $(VENV)/.engine
	$(PIP) install --quiet --constraint constraints.txt --editable '.[engine,web]'
	touch $@

# Segments the built-in CT with the built-in weights, says where result and picture lie, and opens the viewer.
# SERVE=0 stops before the viewer.
demo: $(VENV)/.engine $(if $(filter 0,$(SERVE)),,$(VENV)/.viewer)
	mkdir -p $(DEMO)
	$(RUN)/vista3d segment --sample torso -o $(DEMO)/torso.seg.nrrd --picture $(DEMO)/torso.png
	@echo "The result: $(abspath $(DEMO))/torso.seg.nrrd (open it in 3D Slicer)"
	@echo "Its picture: $(abspath $(DEMO))/torso.png"
	$(if $(filter 0,$(SERVE)),,$(RUN)/vista3d view --sample torso)

# All tests, the slow ones (the full network) too. A process for each part: Qt, VTK, Ray and torch end in peace.
test: $(VENV)/.test
	$(RUN)/python -c "import slicer"  # compiles it once: the first import is slow
	$(RUN)/python -m pytest -n 2 --dist loadfile Testing/lib $(PYTEST_ARGS)
	$(RUN)/python -m pytest Testing/scene $(PYTEST_ARGS)
	$(RUN)/python -m pytest Testing/panel Testing/in_slicer $(PYTEST_ARGS)
	$(RUN)/python -m pytest Testing/cohort $(PYTEST_ARGS)
	$(RUN)/python -m pytest Testing/web $(PYTEST_ARGS)

# What continuous integration checks besides the tests.
check: $(VENV)/.test
	$(RUN)/ruff check .
	$(RUN)/ruff format --check .
	$(RUN)/mypy
	PYTHONPATH=VISTA3D $(RUN)/lint-imports
	$(RUN)/codespell

bench: $(VENV)/.test
	$(RUN)/python -m benchmarks

clean:
	rm -rf $(VENV) $(DEMO) build dist *.egg-info
