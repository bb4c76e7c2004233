# `just` runs what CI runs, in your own .venv; `just ci` runs it in a fresh one.

default: test lint

# The environment of README's second command.
install:
    python3 -m venv .venv && .venv/bin/pip install -c constraints.txt -e '.[dev]'

test *arguments:
    .venv/bin/pytest -n 3 {{arguments}}

lint: types
    .venv/bin/ruff check
    .venv/bin/ruff format --check
    .venv/bin/lint-imports

types:
    .venv/bin/mypy

format:
    .venv/bin/ruff format
    .venv/bin/ruff check --fix

# The whole loop in a throw-away box.
demo *arguments:
    .venv/bin/mlops-box demo {{arguments}}

tui *arguments:
    .venv/bin/mlops-box tui {{arguments}}

# Measurements; each says what it measures and writes its table beside it.
bench:
    for part in benchmarks/*/run.py; do .venv/bin/python -m "$(dirname "$part" | tr / .).run" || exit 1; done

# The Python of the protocol's protobuf definition.
stubs:
    .venv/bin/python services/make_stubs.py

# Everything under docs/ that is made from the code.
docs:
    .venv/bin/python docs/make.py
    .venv/bin/python docs/pictures.py

ci:
    .ci/run
