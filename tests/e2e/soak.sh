#!/usr/bin/env bash
# See soak.py.
. "$(dirname "$0")/lib.sh"
step "soak"
SOAK_SECONDS="${SOAK_SECONDS:-30}" python3 "$E2E_DIR/soak.py" "$WORK"
