# Two commands are enough: `make serve` and `make test`. Needs Python >= 3.11 with its venv module, nothing else.
PYTHON ?= python3
ARGS ?=

SOURCES := $(shell find broker coordinator log wire ottla -name '*.py' -o -name '*.json')
RUN := .venv
DEV := .venv-dev
PIP := -m pip --disable-pip-version-check --quiet
# what the tests said: docs/compatibility.md is made of it
RESULTS := .pytest_cache/results

# the Python clients of the compatibility tests, pinned; those of other languages build on first use
CLIENTS := $(patsubst %,compat_tests/%/requirements.txt,kafka_python confluent aiokafka)

.PHONY: help serve test test-long test-soak compat compat-page compat-check lint bench bench-quick bench-wire clean
.DEFAULT_GOAL := help

help: ## what can be made
	@echo 'make serve      a broker on localhost:9092; more flags: make serve ARGS="--topic orders:6 --ephemeral"'
	@echo 'make test       all tests with the Python clients, about 12 minutes on two cores'
	@echo 'make test-long  the tests that take longer: storms, crashes, Kafka'\''s own tools'
	@echo 'make compat     every other client library: Java, Go, JavaScript, Rust, frameworks; one: make compat CLIENT=kafkajs'
	@echo 'make compat-page docs/compatibility.md, from what test, test-long and compat said; compat-check: is it right?'
	@echo 'make test-soak  the same at length: storms with every client, twenty crashes of client or broker each'
	@echo 'make lint       style and types'
	@echo 'make bench      how fast Ottla is beside Apache Kafka and kfake, where Java with Maven, or Go, are there'
	@echo 'make bench-quick this tree beside the last commit, under two minutes'
	@echo 'make bench-wire the codec beside those of kafka-python and kio'
	@echo 'make clean      removes what the above have made, but no records (./ottla-data)'

# Ctrl-C goes to the broker, which stops cleanly; make and its shell only wait for it.
serve: $(RUN)/installed
	@trap : INT; $(RUN)/bin/ottla serve $(ARGS)

test: $(DEV)/installed
	@$(DEV)/bin/python -m pytest -m 'not long and not soak and not compat' --results=$(RESULTS)/test.json

test-long: $(DEV)/installed
	@$(DEV)/bin/python -m pytest -m 'long and not soak and not compat' --results=$(RESULTS)/test-long.json

compat: $(DEV)/installed
	@$(DEV)/bin/python -m pytest $(if $(CLIENT),-m 'not soak' compat_tests/$(CLIENT),-m 'compat and not soak') \
	  --results=$(RESULTS)/compat$(CLIENT:%=-%).json

# of a test that was run twice the last outcome counts
compat-page: $(DEV)/installed
	@$(DEV)/bin/python -m compat_tests.page $$(ls -tr $(RESULTS)/*.json) --write

compat-check: $(DEV)/installed
	@$(DEV)/bin/python -m compat_tests.page $$(ls -tr $(RESULTS)/*.json) --check

test-soak: $(DEV)/installed
	@$(DEV)/bin/python -m pytest -m soak

lint: $(DEV)/installed
	@$(DEV)/bin/ruff check .
	@$(DEV)/bin/ruff format --check .
	@$(DEV)/bin/mypy

bench: $(DEV)/installed
	@$(DEV)/bin/python -m bench $(ARGS)

bench-quick: $(DEV)/installed
	@$(DEV)/bin/python -m bench --quick $(ARGS)

bench-wire: $(DEV)/installed
	@$(DEV)/bin/python -m bench.wire $(ARGS)

clean:
	@rm -rf $(RUN) $(DEV) build *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis

$(RUN)/installed: pyproject.toml README.md $(SOURCES)
	@$(call enough_python)
	@echo 'installing Ottla into $(RUN)' >&2
	@test -x $(RUN)/bin/python || $(PYTHON) -m venv $(RUN)
	@rm -rf build
	@$(RUN)/bin/python $(PIP) install .
	@rm -rf build
	@touch $@

$(DEV)/installed: pyproject.toml $(CLIENTS)
	@$(call enough_python)
	@echo 'installing Ottla with its test tools into $(DEV)' >&2
	@test -x $(DEV)/bin/python || $(PYTHON) -m venv $(DEV)
	@$(DEV)/bin/python $(PIP) install -e '.[test,lint,bench]' $(addprefix -r ,$(CLIENTS))
	@touch $@

define enough_python
$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
  { echo 'Ottla needs Python 3.11 or newer; name one: make PYTHON=/path/to/python3' >&2; exit 1; }
endef
