#!/usr/bin/env python3
"""kill9.py WORK: pushers push while the server is killed again and again, at random times.

Every push answered with 201 must stay complete, deleted images must stay absent, and open uploads must be resumable. At
the end fsck finds no problem, and after everything is deleted nothing is left on disk. Variables: KILL9_ROUNDS,
KILL9_SEED."""

import json
import os
import random
import sys
import threading
import time
import traceback

from client import CONFIG, LAYER, LOST, MANIFEST, Client, Upload, Wrong, describe, digest_of
from server import ORLOP, Server

ROUNDS = int(os.environ.get("KILL9_ROUNDS", "20"))
SEED = int(os.environ.get("KILL9_SEED", str(random.randrange(1 << 30))))
PUSHERS = 4
LEASE = 10
SIZES = [0, 1, 100, 5_000, 70_000, 300_000, 1_000_000, 4_000_000]


class Run:
    def __init__(self, work):
        self.server = Server(
            work,
            ORLOP_GC__INTERVAL="200ms",
            ORLOP_GC__LEASE=f"{LEASE}s",
            ORLOP_GC__TRASH="1s",
            ORLOP_GC__UNTAGGED="1s",
            ORLOP_UPLOADS__EXPIRE="20s",
        )
        self.up = threading.Event()
        self.over = False
        self.kills = 0
        self.lock = threading.Lock()
        self.images = {}  # (repo, tag) -> Image
        self.latest = {}  # repo -> digests that `latest` may have
        self.recent = []  # contents that several pushers push at the same time
        self.wrong = []
        self.counts = dict.fromkeys(
            ["pushed", "deleted", "resumed", "restarted", "pulled", "late", "lost"], 0
        )

    def count(self, name, by=1):
        with self.lock:
            self.counts[name] += by


class Image:
    def __init__(self, repo, tag, digest):
        self.repo = repo
        self.tag = tag
        self.digest = digest
        self.state = "live"  # "deleting": a delete was sent and not answered; then "deleted"
        self.pulled = False


class Pusher(threading.Thread):
    def __init__(self, run, number):
        super().__init__(name=f"pusher {number}", daemon=True)
        self.run_ = run
        self.rng = random.Random(f"{SEED}/{number}")
        # Two pushers share a repository and push the same blobs.
        self.repo = f"kill9/r{number % 2}"
        self.number = number
        self.client = Client(run.server.address, gate=self.gate)

    def gate(self):
        self.run_.up.wait()

    def run(self):
        serial = 0
        try:
            while not self.run_.over:
                serial += 1
                self.push(f"p{self.number}-{serial}")
                if self.rng.random() < 0.3:
                    self.delete_one()
        except Exception as error:  # any other error is a finding
            self.run_.wrong.append(f"{self.name}: {error}\n{traceback.format_exc()}")

    def insist(self, action):
        """Repeats the action until it succeeds without a kill of the server."""
        blameless = 0
        while True:
            kills = self.run_.kills
            try:
                return action()
            except LOST as error:
                self.run_.count("lost")
                # This thread may notice the kill before the main thread closes the gate.
                time.sleep(0.05)
                blameless = blameless + 1 if kills == self.run_.kills else 0
                if blameless > 10:
                    raise Wrong(f"lost the connection of a living server: {error!r}") from error

    def content(self):
        run = self.run_
        if run.recent and self.rng.random() < 0.25:
            return self.rng.choice(run.recent)
        data = self.rng.randbytes(self.rng.choice(SIZES))
        with run.lock:
            run.recent = [*run.recent[-3:], data]
        return data

    def blob(self, data):
        """Ensures that the repository has the blob. Returns the time before the check."""
        upload = Upload(self.client, self.repo, data, self.rng)
        begun = time.monotonic()
        if not self.insist(lambda: self.client.has_blob(self.repo, upload.digest)):
            self.insist(upload.run)
        self.run_.count("resumed", upload.resumed)
        self.run_.count("restarted", upload.restarted)
        return begun

    def push(self, tag):
        layers = [self.content() for _ in range(self.rng.randint(1, 5))]
        config = json.dumps({"of": tag, "salt": self.rng.random()}).encode()
        manifest = json.dumps(
            {
                "schemaVersion": 2,
                "mediaType": MANIFEST,
                "config": describe(config, CONFIG),
                "layers": [describe(layer, LAYER) for layer in layers],
            }
        ).encode()
        image = Image(self.repo, tag, digest_of(manifest))
        while True:
            oldest = min(self.blob(data) for data in [*layers, config])
            answer = self.insist(
                lambda: self.client.put_manifest(self.repo, tag, manifest, want=(201, 400, 404))
            )
            if answer.status == 201:
                break
            if time.monotonic() - oldest < LEASE - 1:
                raise Wrong(f"manifest rejected {time.monotonic() - oldest:.1f} s after: {answer}")
            self.run_.count("late")
        with self.run_.lock:
            self.run_.images[self.repo, tag] = image
            self.run_.latest.setdefault(self.repo, {None}).add(image.digest)
        self.run_.count("pushed")
        self.insist(lambda: self.client.put_manifest(self.repo, "latest", manifest))

    def delete_one(self):
        run = self.run_
        with run.lock:
            own = [
                image
                for image in run.images.values()
                if image.state == "live" and image.tag.startswith(f"p{self.number}-")
            ]
        if len(own) < 4:
            return
        image = self.rng.choice(own)
        image.state = "deleting"
        # A delete sent again after a kill may have succeeded already.
        self.insist(lambda: self.client.delete(self.repo, "manifests", image.digest, (202, 404)))
        image.state = "deleted"
        run.count("deleted")


def check(run, client, everything):
    """Pulls the images not pulled since their push, or all, and checks that deleted images are absent."""
    with run.lock:
        images = list(run.images.values())
    for image in images:
        before = image.state
        if before == "live" and (everything or not image.pulled):
            try:
                client.pull(image.repo, image.tag, image.digest)
            except Wrong:
                # Only a delete that started meanwhile excuses a failed pull.
                if image.state == "live":
                    raise
            image.pulled = True
            run.count("pulled")
        elif before == "deleted":
            for reference in (image.tag, image.digest):
                client.manifest(image.repo, reference, want=(404,))
    with run.lock:
        latest = {repo: set(digests) for repo, digests in run.latest.items()}
    for repo, digests in latest.items():
        answer = client.manifest(repo, "latest", want=(200, 404))
        if answer.status == 200:
            with run.lock:
                digests |= run.latest[repo]
            if digest_of(answer.body) not in digests:
                raise Wrong(f"{repo}:latest was never pushed: {digest_of(answer.body)}")


def delete_everything(run, client):
    for image in run.images.values():
        client.delete(image.repo, "manifests", image.digest, want=(202, 404))
    begun = time.monotonic()
    while run.server.bytes_stored() > 0:
        if time.monotonic() - begun > 90:
            raise Wrong(f"{run.server.bytes_stored()} bytes are left after everything was deleted")
        time.sleep(0.5)
    print(f"  - everything deleted: disk space was freed after {time.monotonic() - begun:.1f} s")


def go(run):
    rng = random.Random(SEED)
    ready = [run.server.start()]
    run.up.set()
    pushers = [Pusher(run, number) for number in range(PUSHERS)]
    for pusher in pushers:
        pusher.start()
    client = Client(run.server.address)
    for _ in range(ROUNDS):
        time.sleep(rng.uniform(0.1, 1.5))
        run.up.clear()
        run.kills += 1
        run.server.kill()
        client.close()
        ready.append(run.server.start())
        run.up.set()
        check(run, client, everything=False)
        if run.wrong:
            return
    run.over = True
    for pusher in pushers:
        pusher.join(60)
        if pusher.is_alive():
            raise Wrong(f"{pusher.name} hangs")
    if run.wrong:
        return
    check(run, client, everything=True)
    print(f"  - {ROUNDS} kills: {run.counts}; ready again after at most {max(ready):.2f} s")
    if not run.counts["resumed"]:
        print("  - no upload was resumed: raise KILL9_ROUNDS")
    client.close()
    run.server.stop()
    run.server.fsck()
    if ORLOP:
        run.server.start()
        delete_everything(run, client)
        run.server.stop()
        run.server.fsck()
        print("  - fsck is clean")


def main():
    print(f"  - seed {SEED}")
    run = Run(sys.argv[1])
    try:
        go(run)
    except Wrong as wrong:
        run.wrong.append(str(wrong))
    finally:
        run.up.set()
        run.server.kill()
    for wrong in run.wrong:
        print(f"WRONG: {wrong}")
    sys.exit(1 if run.wrong else 0)


if __name__ == "__main__":
    main()
