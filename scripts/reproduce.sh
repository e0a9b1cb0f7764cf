#!/usr/bin/env bash
# Set up, fetch the data, do every run of a tier, print the claim table. See --help.
set -euo pipefail
cd "$(dirname "$0")/.."
./scripts/setup.sh
exec .venv/bin/python scripts/reproduce.py "$@"
