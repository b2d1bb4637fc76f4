#!/usr/bin/env bash
# See soak.py.
. "$(dirname "$0")/lib.sh"
step "soak"
python3 "$E2E_DIR/soak.py" "$WORK"
