#!/usr/bin/env bash
# See budget.py.
. "$(dirname "$0")/lib.sh"
step "budget"
# Half the size: ten times the budget takes at least ten leases.
BUDGET_MIB="${BUDGET_MIB:-512}" python3 "$E2E_DIR/budget.py" "$WORK"
