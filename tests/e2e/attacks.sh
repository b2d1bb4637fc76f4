#!/usr/bin/env bash
# Attacks on a server below a memory limit, many clients behind one address, and pushes that are refused in the middle of a
# layer: the small version of what tests/attacks/README.md describes.
. "$(dirname "$0")/lib.sh"
attacks="$REPO_DIR/tests/attacks"

step "others go on pulling and pushing, within the memory budget"
python3 "$attacks/run.py" --quick --work "$WORK"

step "200 clients are served behind one address, or behind nginx"
python3 "$attacks/fairness.py" --quick --work "$WORK"

step "the reason for a refused push reaches the client"
python3 "$attacks/refusals.py" --quick --work "$WORK"
