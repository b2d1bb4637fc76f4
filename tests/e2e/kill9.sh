#!/usr/bin/env bash
# See kill9.py.
. "$(dirname "$0")/lib.sh"
step "kill9"
python3 "$E2E_DIR/kill9.py" "$WORK"
