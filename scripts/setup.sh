#!/usr/bin/env bash
# Make .venv with the locked packages and this package, once; a second call returns at once.
set -euo pipefail
cd "$(dirname "$0")/.."

fail() { echo "error: $1" >&2; exit 1; }

state=$(cat requirements.lock pyproject.toml | cksum)
if [ -x .venv/bin/python ] && [ "$(cat .venv/installed 2>/dev/null)" = "$state" ]; then
    exit 0
fi

python=""
for candidate in python3 python3.13 python3.12 python3.11; do
    if "$candidate" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null; then
        python=$candidate
        break
    fi
done
[ -n "$python" ] || fail "no python3 from 3.11 to 3.13 found; install one and call again"

free_mib=$(df -Pm . | awk 'NR == 2 {print $4}')
[ "$free_mib" -gt 8000 ] || fail "set-up needs 8 GB of disk here, and $free_mib MB are free"

echo "setting up .venv with $("$python" --version) (about a minute)"
log=$(mktemp)
trap 'rm -f "$log"' EXIT
attempt() { "$@" >"$log" 2>&1 || fail "set-up failed at '$*' (is there a network?): $(grep -v '^ *$' "$log" | tail -n 1)"; }

if [ ! -x .venv/bin/python ] || [ ! -x .venv/bin/pip ]; then
    attempt "$python" -m venv --clear .venv
fi
attempt .venv/bin/pip install --quiet --disable-pip-version-check uv==0.13.9
attempt .venv/bin/uv pip install --quiet --compile-bytecode --python .venv/bin/python -r requirements.lock
attempt .venv/bin/uv pip install --quiet --compile-bytecode --python .venv/bin/python --no-deps --editable .
echo "$state" >.venv/installed
