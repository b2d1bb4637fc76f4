#!/usr/bin/env python3
"""readme.py WORD [FILE...]: prints the code blocks marked with WORD after their language, as one script.
The blocks come from README.md and then from docs/*.md in alphabetical order, or from the given files. Each
page of docs leaves the registry as README.md does, so pages do not depend on each other. GitHub highlights a
block by the first word of its fence and hides the others:

    ```sh test          the one command that runs the tests; .ci/run runs it unchanged
    ```sh ci            run in this order by tests/e2e/readme.sh, in one shell, from the repository
    ```sh ci server     the same, but it continues to run: started in the background, and waited
                        for until http://localhost:5000/readyz answers
    ```sh compose       run by tests/e2e/compose.sh instead, where the base images are available
    ```nginx proxy      for nginx' `server`; tests/e2e/nginx.sh runs nginx with it
    ```toml ci          a configuration, passed to `orlop check-config`
"""

import glob
import os
import re
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
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


def pages():
    """README.md and the pages of docs."""
    return [os.path.join(ROOT, "README.md"), *sorted(glob.glob(os.path.join(ROOT, "docs", "*.md")))]


def main():
    word = sys.argv[1]
    found = []
    for path in sys.argv[2:] or pages():
        with open(path, encoding="utf-8") as file:
            found += [(path, *block) for block in blocks(file.read()) if word in block[2]]
    if not found:
        sys.exit(f"readme.py: no block with the word '{word}'")
    if word in ("test", "proxy"):
        if len(found) != 1:
            sys.exit(f"readme.py: exactly one block must carry the word '{word}'")
        sys.stdout.write(found[0][4])
        return
    for path, line, language, words, body in found:
        print(f'echo "  - {os.path.relpath(path, ROOT)} line {line + 1}"')
        if language == "toml":
            print(f"check_config <<'README_BLOCK'\n{body}README_BLOCK")
        elif "server" in words:
            print(f"{{\n{body}}} &\nwait_ready $!")
        else:
            sys.stdout.write(body)


if __name__ == "__main__":
    main()
