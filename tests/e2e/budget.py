#!/usr/bin/env python3
"""budget.py WORK: pushes ten times the budget of 1 GiB.

Several pushers push images of 64 MiB into one repository, each with its own tag and `latest`. The data
directory never exceeds the budget, no push fails, and the newest images can be pulled completely. If the
server supports policies, they expire the old images. Otherwise each pusher deletes its second last image,
and emptying the trash frees space. Variables: BUDGET_MIB, BUDGET_TIMES, BUDGET_SEED."""

import json
import os
import random
import subprocess
import sys
import threading
import time
import traceback

from client import CONFIG, LAYER, MANIFEST, Client, Upload, Wrong, describe, digest_of
from server import ORLOP, Server

BUDGET = int(os.environ.get("BUDGET_MIB", "1024")) << 20
TIMES = int(os.environ.get("BUDGET_TIMES", "10"))
SEED = int(os.environ.get("BUDGET_SEED", str(random.randrange(1 << 30))))
PUSHERS = 3
KEPT = 3
IMAGE = BUDGET // 16
REPO = "budget/app"

POLICIES = f"""
[[retention.policies]]
name = "newest"
repositories = ["**"]

[[retention.policies.rules]]
name = "keep-newest"
action = "keep"
newest = {KEPT}

[[retention.policies.rules]]
name = "make-room"
action = "expire"
when = "pressure"
"""


class Push:
    """The pushes of all pushers."""

    def __init__(self):
        self.lock = threading.Lock()
        self.number = 0
        self.done = []  # (tag, digest) in the order in which they were tagged
        self.wrong = None

    def next(self):
        with self.lock:
            if self.wrong or self.number * IMAGE >= BUDGET * TIMES:
                return None
            self.number += 1
            return self.number


def layers(rng):
    """Yields layers of an eighth to a half of an image, together as large as one image."""
    left = IMAGE
    while left:
        size = min(left, rng.choice([IMAGE // 8, IMAGE // 4, IMAGE // 2]))
        yield rng.randbytes(size)
        left -= size


def push_image(client, push, number):
    rng = random.Random(f"{SEED}/{number}")
    described = []
    for layer in layers(rng):
        Upload(client, REPO, layer, rng).run()
        described.append(describe(layer, LAYER))
    config = json.dumps({"number": number, "seed": SEED}).encode()
    Upload(client, REPO, config, rng).run()
    manifest = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": describe(config, CONFIG),
        "layers": described,
    }
    data, tag = json.dumps(manifest).encode(), f"build-{number:04}"
    with push.lock:
        client.put_manifest(REPO, tag, data)
        client.put_manifest(REPO, "latest", data)
        push.done.append((tag, digest_of(data)))


def run_pusher(address, push, policies):
    client, before = Client(address, timeout=120), []
    try:
        while (number := push.next()) is not None:
            push_image(client, push, number)
            if not policies:
                before.append(f"build-{number:04}")
                if len(before) > 1:
                    client.delete(REPO, "manifests", before.pop(0))
    except Exception as error:  # any other error is a finding
        push.wrong = f"{error}\n{traceback.format_exc()}"
    finally:
        client.close()


class Sampler(threading.Thread):
    """Samples the size of the data directory continuously."""

    def __init__(self, path):
        super().__init__(daemon=True)
        self.path = path
        self.most = 0
        self.samples = 0
        self.stopped = threading.Event()

    def run(self):
        while not self.stopped.wait(0.02):
            self.most = max(self.most, spent(self.path))
            self.samples += 1

    def stop(self):
        self.stopped.set()
        self.join()


def spent(path):
    """The disk usage as `du` reports it, with each file counted once."""
    taken, seen = 0, set()
    for root, _, names in os.walk(path):
        for name in [".", *names]:
            try:
                found = os.lstat(os.path.join(root, name))
            except FileNotFoundError:
                continue
            if found.st_ino not in seen:
                seen.add(found.st_ino)
                taken += found.st_blocks * 512
    return taken


def configure(work, binary):
    """Writes the configuration file. Returns its path and whether it has policies."""
    path = os.path.join(work, "budget.toml")
    settings = f"""
[storage]
budget = "{BUDGET >> 20}MiB"
budget_wait = "60s"

[gc]
lease_pressure = "2s"
interval = "200ms"
"""
    for policies in (POLICIES, ""):
        with open(path, "w") as file:
            file.write(settings + policies)
        checked = subprocess.run(
            [binary, "check-config", "--config", path], capture_output=True, text=True
        )
        if checked.returncode == 0:
            return path, bool(policies)
        if not policies or "retention" not in checked.stderr or "no such section" not in checked.stderr:
            raise SystemExit(f"check-config: {checked.stdout}{checked.stderr}")
    raise SystemExit("unreachable")


def metric(client, name):
    text = client.request("GET", "/metrics", want=(200,)).body.decode()
    found = [line.split()[1] for line in text.splitlines() if line.startswith(name + " ")]
    return float(found[0]) if found else None


def go(server, policies):
    server.start()
    sampler, push, begun = Sampler(server.data), Push(), time.monotonic()
    sampler.start()
    pushers = [
        threading.Thread(target=run_pusher, args=(server.address, push, policies), daemon=True)
        for _ in range(PUSHERS)
    ]
    for pusher in pushers:
        pusher.start()
    for pusher in pushers:
        pusher.join()
    took = time.monotonic() - begun
    sampler.stop()
    print(
        f"  - {len(push.done)} images, {len(push.done) * IMAGE >> 20} MiB in {took:.1f} s; "
        f"at most {sampler.most >> 20} of {BUDGET >> 20} MiB used, in {sampler.samples} samples"
    )
    if push.wrong:
        raise Wrong(push.wrong)
    if sampler.most > BUDGET:
        raise Wrong(f"{sampler.most} bytes were used, of a budget of {BUDGET}")
    client = Client(server.address)
    newest = push.done[-KEPT if policies else -1 :]
    for tag, digest in newest:
        client.pull(REPO, tag, digest)
    client.pull(REPO, "latest", push.done[-1][1])
    runs = metric(client, "orlop_pressure_runs_total")
    if not runs:
        raise Wrong(f"orlop_pressure_runs_total is {runs}")
    print(f"  - the newest {len(newest)} can be pulled; space was reclaimed {runs:.0f} times")
    client.close()
    server.stop()
    server.fsck()


def main():
    if not ORLOP:
        print("  - only for orlop")
        return
    print(f"  - seed {SEED}")
    server = Server(sys.argv[1])
    config, policies = configure(sys.argv[1], server.binary)
    server.environment["ORLOP_CONFIG"] = config
    print(f"  - {'policies' if policies else 'deletes'} free space")
    try:
        go(server, policies)
    except Wrong as wrong:
        print(f"WRONG: {wrong}")
        sys.exit(1)
    finally:
        server.kill()


if __name__ == "__main__":
    main()
