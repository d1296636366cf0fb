"""`python -m pytest_bottle`, the same as the command `pytest-bottle`."""

from pytest_bottle.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
