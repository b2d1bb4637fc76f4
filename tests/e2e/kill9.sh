#!/usr/bin/env bash
# See kill9.py.
. "$(dirname "$0")/lib.sh"
step "kill9"
KILL9_ROUNDS="${KILL9_ROUNDS:-10}" python3 "$E2E_DIR/kill9.py" "$WORK"
