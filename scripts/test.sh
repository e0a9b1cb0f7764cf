#!/usr/bin/env bash
# Set up and run the tests, a process a core and four at most; arguments go to pytest.
set -euo pipefail
cd "$(dirname "$0")/.."
./scripts/setup.sh
exec .venv/bin/python -m pytest -n auto --maxprocesses 4 --dist loadfile "$@"
