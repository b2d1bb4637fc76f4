#!/usr/bin/env python3
"""adopt_killed.py BINARY TREE WORK ROUNDS: adoption killed at any moment and run again gives the same result.

Adopts the registry:2 tree once without interruption. Then, ROUNDS times: adopts it into a new data directory, kills the
command with SIGKILL once or several times at random moments, runs it to its end, and compares every tag with its digest,
the counts and the sums, and what `orlop fsck` finds.
"""

import json
import os
import random
import shutil
import subprocess
import sys
import time

BINARY, TREE, WORK = sys.argv[1:4]
ROUNDS = int(sys.argv[4])


def orlop(data, *arguments):
    done = subprocess.run([BINARY, "--data", data, *arguments], capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"orlop {' '.join(arguments)}: {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout


def new_store(name):
    """A data directory with an empty store, so that the images go there."""
    data = os.path.join(WORK, name)
    shutil.rmtree(data, ignore_errors=True)
    shutil.copytree(os.path.join(WORK, "empty"), data)
    return data


def result(data):
    """What was adopted, without what differs from run to run."""
    tags = {}
    for repository in json.loads(orlop(data, "repos", "--json")):
        for tag in json.loads(orlop(data, "tags", repository["name"], "--json")):
            tags[f"{repository['name']}:{tag['name']}"] = tag["digest"]
    usage = json.loads(orlop(data, "usage", "--json"))["usage"]
    # The tree may hold a damaged blob, which is a problem each time.
    fsck = json.loads(subprocess.run([BINARY, "--data", data, "fsck", "--json"], capture_output=True, text=True).stdout)
    problems = sorted([problem["kind"], problem["subject"]] for problem in fsck["problems"])
    return {"tags": tags, "usage": {k: usage[k] for k in sorted(usage) if k in ("blobs", "manifests", "logical")},
            "fsck": [fsck["blobs"], fsck["manifests"], problems]}


def main():
    random.seed(17)
    data = new_store("whole")
    start = time.monotonic()
    orlop(data, "adopt", TREE)
    duration = time.monotonic() - start
    expected = result(data)
    killed = 0
    for number in range(ROUNDS):
        data = new_store("killed")
        for _ in range(random.choice([1, 1, 2, 3])):
            command = subprocess.Popen([BINARY, "--data", data, "adopt", TREE], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            time.sleep(random.uniform(0.0, duration * 1.1))
            if command.poll() is None:
                killed += 1
            command.kill()
            command.wait()
        orlop(data, "adopt", TREE)
        found = result(data)
        if found != expected:
            sys.exit(f"round {number}: {json.dumps(found)[:3000]} instead of {json.dumps(expected)[:3000]}")
    print(f"    {ROUNDS} rounds, {killed} times killed within {duration:.2f} s: the same {len(expected['tags'])} tags each time")


if __name__ == "__main__":
    main()
