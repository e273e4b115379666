# Exactly what CI runs: format, lint, types, layers, tests.
check:
    scripts/check

# Put the code into the project's format and mend what can be mended by itself.
format:
    ruff format .
    ruff check --fix .

# The tests alone; arguments go to pytest.
test *arguments:
    python -m pytest {{ arguments }}
