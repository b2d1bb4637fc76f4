#!/usr/bin/env python3
"""soak.py WORK: eight workers push, mount, overwrite, retag, delete and pull while the collector
runs every 200 ms with the shortest useful times.

No tagged image may be lost and no valid request may be rejected. After everything is deleted, the
disk space is freed without further requests, and fsck finds no problem. Variables: SOAK_SECONDS,
SOAK_SEED."""

import json
import multiprocessing
import os
import random
import sys
import time
import traceback

from client import (
    CONFIG,
    INDEX,
    LAYER,
    MANIFEST,
    Client,
    Upload,
    Wrong,
    describe,
    digest_of,
)
from server import ORLOP, Server

SECONDS = int(os.environ.get("SOAK_SECONDS", "60"))
SEED = int(os.environ.get("SOAK_SEED", str(random.randrange(1 << 30))))
WORKERS = 8
LEASE = 3
UNTAGGED = 3
# A rejection within this time after the first blob is a bug of the server. Later this machine was too slow.
IN_TIME = min(LEASE, UNTAGGED) - 0.5
SIZES = [0, 50, 4_000, 4_000, 60_000, 60_000, 500_000, 2_000_000]
SHARED = ["soak/shared-a", "soak/shared-b"]


class Worker:
    def __init__(self, address, number, until):
        self.rng = random.Random(f"{SEED}/{number}")
        self.number = number
        self.until = until
        self.client = Client(address)
        self.tags = {}  # (repo, tag) -> digest: the tags that must exist
        self.bytes = {}  # (repo, digest) -> (media type, manifest)
        self.children = set()  # (repo, digest) that has ever been in an index
        self.referrers = {}  # (repo, subject) -> digests
        self.counts = {}

    def count(self, name):
        self.counts[name] = self.counts.get(name, 0) + 1

    def work(self):
        steps = [
            (self.push_image, 10),
            (self.push_index, 3),
            (self.push_referrer, 3),
            (self.retag, 2),
            (self.pull, 8),
            (self.delete_tag, 3),
            (self.delete_manifest, 3),
            (self.delete_child, 1),
            (self.delete_blob, 2),
        ]
        while time.monotonic() < self.until:
            (step,) = self.rng.choices([s for s, _ in steps], [w for _, w in steps])
            step()
            self.count(step.__name__)
        self.check_all()

    # Content to push.

    def content(self):
        """Returns a layer. Half of the layers are the same for all workers at the same time."""
        size = self.rng.choice(SIZES)
        if self.rng.random() < 0.5:
            return self.rng.randbytes(size)
        recent = int(time.monotonic() * 2) - self.rng.randrange(6)
        rng = random.Random(f"{SEED} shared {recent} {size}")
        return rng.randbytes(size)

    def repo(self):
        return self.rng.choice([f"soak/own-{self.number}", *SHARED])

    def tag(self):
        # There are few tags, so that many pushes overwrite one.
        return f"w{self.number}-{self.rng.randrange(8)}"

    def some_tag(self, media_type=None):
        """Returns a tag of this media type that must exist."""
        found = [
            at
            for at, digest in self.tags.items()
            if media_type in (None, self.bytes[at[0], digest][0])
        ]
        return self.rng.choice(found) if found else None

    # Pushing.

    def blob(self, repo, data):
        """Ensures that the repository has the blob. Returns the time before the check."""
        begun = time.monotonic()
        digest = digest_of(data)
        if self.client.has_blob(repo, digest):
            self.count("blobs found")
        elif self.rng.random() < 0.4 and self.client.mount(repo, digest, self.rng.choice(SHARED)):
            self.count("blobs mounted")
        else:
            Upload(self.client, repo, data, self.rng).run()
            self.count("blobs uploaded")
        return begun

    def put(self, repo, reference, manifest, media_type, known_at):
        """Puts a manifest. Returns its digest, or None if it was rejected. An early rejection is a bug."""
        data = json.dumps(manifest).encode()
        digest = digest_of(data)
        answer = self.client.put_manifest(
            repo, reference or digest, data, media_type, want=(201, 400, 404)
        )
        if answer.status != 201:
            age = time.monotonic() - known_at
            if age < IN_TIME:
                raise Wrong(f"{repo}:{reference} rejected {age:.2f} s after its first blob: {answer}")
            self.count("rejected after the lease")
            return None
        if answer.headers["Docker-Content-Digest"] != digest:
            raise Wrong(f"{repo}:{reference}: {answer.headers['Docker-Content-Digest']}")
        self.bytes[repo, digest] = (media_type, data)
        if reference:
            self.tags[repo, reference] = digest
        return digest

    def image(self, repo, tag, **more):
        layers = [self.content() for _ in range(self.rng.randint(1, 4))]
        # All manifests differ, so deleting one by digest affects only this worker.
        config = json.dumps({"worker": self.number, "salt": self.rng.random()}).encode()
        known_at = min(self.blob(repo, data) for data in [*layers, config])
        manifest = {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": describe(config, CONFIG),
            "layers": [describe(layer, LAYER) for layer in layers],
            **more,
        }
        return self.put(repo, tag, manifest, MANIFEST, known_at), known_at, manifest

    def push_image(self):
        self.image(self.repo(), self.tag())

    def push_index(self):
        repo = self.repo()
        children = []
        known_at = time.monotonic()
        for _ in range(self.rng.randint(1, 2)):
            digest, _, _ = self.image(repo, None)
            if digest is None:
                return
            children.append(digest)
        # Also a tagged child: the index must hold it after its tag is deleted.
        children += [d for (r, _), d in self.tags.items() if r == repo][:1]
        index = {
            "schemaVersion": 2,
            "mediaType": INDEX,
            "manifests": [
                describe(self.bytes[repo, child][1], self.bytes[repo, child][0])
                for child in children
            ],
        }
        if self.put(repo, self.tag(), index, INDEX, known_at):
            self.children.update((repo, child) for child in children)

    def push_referrer(self):
        at = self.some_tag()
        if not at:
            return
        repo, subject = at[0], self.tags[at]
        media_type, data = self.bytes[repo, subject]
        digest, _, _ = self.image(
            repo, None, artifactType="application/vnd.example.note",
            subject=describe(data, media_type),
        )
        if digest:
            self.referrers.setdefault((repo, subject), set()).add(digest)
            self.check_referrers(repo, subject)

    def retag(self):
        at = self.some_tag()
        if at:
            repo, digest = at[0], self.tags[at]
            media_type, data = self.bytes[repo, digest]
            tag = self.tag()
            self.client.put_manifest(repo, tag, data, media_type)
            self.tags[repo, tag] = digest

    # Pulling.

    def check_referrers(self, repo, subject):
        if not ORLOP:
            return
        answer = self.client.request("GET", f"/v2/{repo}/referrers/{subject}", want=(200,))
        listed = {entry["digest"] for entry in json.loads(answer.body)["manifests"]}
        missing = self.referrers.get((repo, subject), set()) - listed
        if missing:
            raise Wrong(f"{repo}: {subject} has lost its referrers {missing}")

    def check(self, at):
        repo, digest = at[0], self.tags[at]
        self.client.pull(repo, at[1], digest)
        self.check_referrers(repo, digest)
        for referrer in self.referrers.get((repo, digest), ()):
            self.client.pull(repo, referrer, referrer)

    def pull(self):
        at = self.some_tag()
        if at:
            self.check(at)

    def check_all(self):
        for at in self.tags:
            self.check(at)

    # Deleting.

    def delete_tag(self):
        at = self.some_tag()
        if at and ORLOP:
            self.client.delete(at[0], "manifests", at[1])
            del self.tags[at]
            self.client.manifest(*at, want=(404,))

    def delete_manifest(self):
        at = self.some_tag()
        if not at:
            return
        repo, digest = at[0], self.tags[at]
        if (repo, digest) in self.children and not ORLOP:
            return
        answer = self.client.delete(repo, "manifests", digest, want=(202, 405))
        if answer.status == 405:
            if (repo, digest) not in self.children:
                raise Wrong(f"{repo}@{digest} can't be deleted, and no index holds it: {answer}")
            return
        self.tags = {
            other: d for other, d in self.tags.items() if (other[0], d) != (repo, digest)
        }
        for reference in (at[1], digest):
            self.client.manifest(repo, reference, want=(404,))

    def delete_child(self):
        """Checks that a child of a tagged index can't be deleted."""
        at = self.some_tag(INDEX)
        if at and ORLOP:
            index = json.loads(self.bytes[at[0], self.tags[at]][1])
            child = self.rng.choice(index["manifests"])["digest"]
            self.client.delete(at[0], "manifests", child, want=(405,))

    def delete_blob(self):
        """Checks that an unneeded blob is deleted at once and that a blob of an image can't be deleted."""
        repo = f"soak/own-{self.number}"
        data = self.rng.randbytes(1000)
        Upload(self.client, repo, data, self.rng).run()
        self.client.delete(repo, "blobs", digest_of(data))
        if self.client.has_blob(repo, digest_of(data)):
            raise Wrong(f"{repo}@{digest_of(data)} exists after its deletion")
        at = self.some_tag(MANIFEST)
        if at and ORLOP:
            config = json.loads(self.bytes[at[0], self.tags[at]][1])["config"]["digest"]
            self.client.delete(at[0], "blobs", config, want=(405,))


def run_worker(address, number, until, results):
    worker = Worker(address, number, until)
    wrong = None
    try:
        worker.work()
    except Exception as error:  # any other error is a finding
        wrong = f"worker {number}: {error}\n{traceback.format_exc()}"
    results.put((worker.counts, worker.tags, wrong))


def delete_everything(server, tags):
    """Deletes half of the images by digest and half by tag. Children go with their index."""
    client = Client(server.address)
    before = server.bytes_stored()
    for number, ((repo, tag), digest) in enumerate(sorted(tags.items())):
        if number % 2:
            client.delete(repo, "manifests", digest, want=(202, 404, 405))
        client.delete(repo, "manifests", tag, want=(202, 404))
    begun = time.monotonic()
    while server.bytes_stored() > 0:
        if time.monotonic() - begun > 90:
            raise Wrong(f"{server.bytes_stored()} of {before} bytes are left after everything was deleted")
        time.sleep(0.2)
    print(
        f"  - everything deleted: {before / 1e6:.1f} MB of disk space were freed "
        f"after {time.monotonic() - begun:.1f} s"
    )
    client.close()


def go(server):
    server.start()
    results = multiprocessing.Queue()
    until = time.monotonic() + SECONDS
    workers = [
        multiprocessing.Process(
            target=run_worker, args=(server.address, number, until, results), daemon=True
        )
        for number in range(WORKERS)
    ]
    for worker in workers:
        worker.start()
    ends = [results.get(timeout=SECONDS + 120) for _ in workers]
    for worker in workers:
        worker.join()
    counts, tags = {}, {}
    for worker_counts, worker_tags, _ in ends:
        tags.update(worker_tags)
        for name, value in worker_counts.items():
            counts[name] = counts.get(name, 0) + value
    print("  - " + ", ".join(f"{value} {name}" for name, value in sorted(counts.items())))
    wrongs = [wrong for _, _, wrong in ends if wrong]
    if wrongs:
        raise Wrong("\n".join(wrongs))
    # Long enough for every lease, trash time and policy to pass several times.
    time.sleep(2 * (LEASE + UNTAGGED))
    client = Client(server.address)
    for (repo, tag), digest in tags.items():
        client.pull(repo, tag, digest)
    client.close()
    print(f"  - all {len(tags)} tags can be pulled after the collector had enough time")
    if ORLOP:
        server.fsck()
        delete_everything(server, tags)
    server.stop()
    server.fsck()


def main():
    print(f"  - seed {SEED}, {SECONDS} s")
    server = Server(
        sys.argv[1],
        ORLOP_GC__INTERVAL="200ms",
        ORLOP_GC__LEASE=f"{LEASE}s",
        ORLOP_GC__TRASH="1s",
        ORLOP_GC__UNTAGGED=f"{UNTAGGED}s",
        ORLOP_UPLOADS__EXPIRE="10s",
    )
    try:
        go(server)
    except Wrong as wrong:
        print(f"WRONG: {wrong}")
        sys.exit(1)
    finally:
        server.kill()


if __name__ == "__main__":
    main()
