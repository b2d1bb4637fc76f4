#!/usr/bin/env python3
"""adopt.py BINARY [IMAGES]: how long the adoption of a registry:2 tree takes, and its memory.

Makes a tree of images with ten blobs each (default: 2,000 images, so 20,000 blobs), whose layers are sparse files of
1 MiB, and prints the time, the processor time and the largest memory of `orlop adopt`, first and when run again.
"""

import hashlib
import json
import os
import resource
import subprocess
import sys
import tempfile
import time

BINARY = sys.argv[1]
IMAGES = int(sys.argv[2]) if len(sys.argv) > 2 else 2000
LAYERS, LAYER_BYTES, TAGS = 9, 1 << 20, 20
MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"


class Tree:
    """The storage of a registry:2."""

    def __init__(self, root):
        self.root = os.path.join(root, "docker/registry/v2")

    def write(self, path, content):
        path = os.path.join(self.root, path)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as file:
            file.write(content)
        return path

    def blob(self, content):
        digest = hashlib.sha256(content).hexdigest()
        self.write(f"blobs/sha256/{digest[:2]}/{digest}/data", content)
        return digest

    def sparse(self, number):
        """A layer whose content does not match its digest: the benchmark reads no layer."""
        digest = hashlib.sha256(f"layer {number}".encode()).hexdigest()
        path = self.write(f"blobs/sha256/{digest[:2]}/{digest}/data", b"")
        os.truncate(path, LAYER_BYTES)
        return digest

    def link(self, path, digest):
        self.write(f"{path}/link", f"sha256:{digest}".encode())

    def image(self, number):
        repository = f"repositories/team{number % 37}/app{number // TAGS}"
        config = self.blob(json.dumps({"architecture": "amd64", "os": "linux", "number": number}).encode())
        layers = [self.sparse(number * LAYERS + at) for at in range(LAYERS)]
        for digest in [config, *layers]:
            self.link(f"{repository}/_layers/sha256/{digest}", digest)
        described = lambda kind, digest, size: {"mediaType": kind, "size": size, "digest": f"sha256:{digest}"}
        manifest = {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": described("application/vnd.docker.container.image.v1+json", config, 60),
            "layers": [described("application/vnd.docker.image.rootfs.diff.tar.gzip", d, LAYER_BYTES) for d in layers],
        }
        digest = self.blob(json.dumps(manifest).encode())
        manifests, tag = f"{repository}/_manifests", f"v{number % TAGS}"
        self.link(f"{manifests}/revisions/sha256/{digest}", digest)
        self.link(f"{manifests}/tags/{tag}/current", digest)
        self.link(f"{manifests}/tags/{tag}/index/sha256/{digest}", digest)


def adopt(path):
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    start = time.monotonic()
    done = subprocess.run([BINARY, "adopt", path, "--json"], capture_output=True, check=True)
    report = json.loads(done.stdout)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    processor = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    print(
        f"{report['blobs']} blobs, {report['manifests']} manifests, {report['tags']} tags: "
        f"{time.monotonic() - start:.1f} s, {processor:.1f} s of processor time, {after.ru_maxrss / 1024:.0f} MiB at most"
    )


def main():
    with tempfile.TemporaryDirectory(dir=os.environ.get("BENCH_DIR")) as folder:
        tree = Tree(folder)
        for number in range(IMAGES):
            tree.image(number)
        adopt(folder)
        adopt(folder)


if __name__ == "__main__":
    main()
