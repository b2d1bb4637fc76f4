#!/usr/bin/env bash
# See budget.py.
. "$(dirname "$0")/lib.sh"
step "budget"
python3 "$E2E_DIR/budget.py" "$WORK"
