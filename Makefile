# Both commands do their whole set-up: a .venv here, from any Python >= 3.11.
#   make demo    train on handwritten digits, write the model and pictures to demo-out/
#   make test    lint, types, and every test
#   make peer    the tests that compare with PyTorch, which this installs for the purpose
#   make docs    the pages of docs/ as a site, with the reference and its pictures, in site/
#   make bench   talweg beside its peers, which this installs; the figures go to benchmarks/README.md
#   make clean   forget the environment and every cache

PYTHON ?= $(shell for p in python3.13 python3.12 python3.11 python3.14 python3 python; do \
	"$$p" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 \
	&& { echo "$$p"; break; }; done)
JOBS ?= 2
TORCH ?= 2.13.0

VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet

.PHONY: demo test docs peer bench clean

demo: $(VENV)/.demo
	$(BIN)/talweg demo

test: $(VENV)/.test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/pytest -q -n $(JOBS) --dist worksteal

docs: $(VENV)/.docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build

peer: $(VENV)/.peer
	$(BIN)/pytest -q -n $(JOBS) tests/peer

bench: $(VENV)/.bench
	$(BIN)/python -m benchmarks --write --json benchmarks/results.json

clean:
	rm -rf $(VENV) .hypothesis .mypy_cache .pytest_cache .ruff_cache .cache build dist site
	find talweg tests -name __pycache__ -type d -prune -exec rm -rf {} +

$(VENV)/.made:
	@test -n "$(PYTHON)" || { echo "talweg needs Python 3.11 or newer with its venv module" \
	"(on Debian: apt install python3-venv); found none. Install it, or name one:" \
	"make PYTHON=/path/to/python" >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/.demo $(VENV)/.docs $(VENV)/.test: $(VENV)/.%: $(VENV)/.made pyproject.toml
	@echo 'talweg: installing what "make $*" needs into $(VENV) (once)'
	@$(PIP) install -e '.[$*]'
	@touch $@

$(VENV)/.peer: $(VENV)/.test
	$(PIP) install torch==$(TORCH)
	@touch $@

$(VENV)/.bench: $(VENV)/.peer
	$(PIP) install jax onnx onnxruntime
	@touch $@
