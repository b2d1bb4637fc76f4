#!/usr/bin/env bash
# Attacks on a server under a memory limit, many clients behind one address, and pushes rejected in the middle of a layer:
# the quick version of the runs described in tests/attacks/README.md.
. "$(dirname "$0")/lib.sh"
attacks="$REPO_DIR/tests/attacks"

step "other clients keep pulling and pushing, and memory stays within its budget"
python3 "$attacks/run.py" --quick --work "$WORK"

step "200 clients are served behind one address, or behind nginx"
python3 "$attacks/fairness.py" --quick --work "$WORK"

step "clients receive the reason of a rejected push"
python3 "$attacks/refusals.py" --quick --work "$WORK"
