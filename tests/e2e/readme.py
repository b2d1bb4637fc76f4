#!/usr/bin/env python3
"""readme.py WORD [FILE]: prints the README's code blocks that carry WORD after their language, as
one script. GitHub colours a block by the first word of its fence and hides the others:

    ```sh test          the one command that runs the tests; .ci/run runs it as it stands
    ```sh ci            run in this order by tests/e2e/readme.sh, in one shell, from the repository
    ```sh ci server     the same, but it goes on running: started in the background, and waited
                        for until http://localhost:5000/readyz answers
    ```sh compose       run by tests/e2e/compose.sh instead, where the base images are at hand
    ```nginx proxy      what goes into nginx' `server`; tests/e2e/nginx.sh runs nginx with it
    ```toml ci          a configuration, given to `orlop check-config`
"""

import os
import re
import sys

FENCE = re.compile(r"^(`{3,})([^`]*)$")


def blocks(text):
    """(line number, language, words, body) of each fenced block that has a language."""
    lines = text.split("\n")
    at = 0
    while at < len(lines):
        opening = FENCE.match(lines[at])
        at += 1
        if not opening:
            continue
        start = at
        while at < len(lines) and lines[at].rstrip() != opening[1]:
            at += 1
        words = opening[2].split()
        if words:
            yield start, words[0], words[1:], "\n".join(lines[start:at]) + "\n"
        at += 1


def main():
    word = sys.argv[1]
    here = os.path.dirname(os.path.abspath(__file__))
    path = sys.argv[2] if len(sys.argv) > 2 else os.path.join(here, "..", "..", "README.md")
    with open(path, encoding="utf-8") as file:
        found = [block for block in blocks(file.read()) if word in block[2]]
    if not found:
        sys.exit(f"readme.py: no block with the word '{word}' in {path}")
    if word in ("test", "proxy"):
        if len(found) != 1:
            sys.exit(f"readme.py: one block, and only one, may carry the word '{word}'")
        sys.stdout.write(found[0][3])
        return
    for line, language, words, body in found:
        print(f'echo "  - README line {line + 1}"')
        if language == "toml":
            print(f"check_config <<'README_BLOCK'\n{body}README_BLOCK")
        elif "server" in words:
            print(f"{{\n{body}}} &\nwait_ready $!")
        else:
            sys.stdout.write(body)


if __name__ == "__main__":
    main()
