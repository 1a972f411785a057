# `make check` is all of it; each part also runs alone.
.PHONY: check format lint types imports test slow
check: lint types imports test slow

format:
	ruff format .
	ruff check --fix .
lint:
	ruff format --check .
	ruff check .
types:
	mypy
imports:
	lint-imports
test:
	pytest
slow:
	pytest -m slow
