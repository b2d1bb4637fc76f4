#!/usr/bin/env python3
"""The side-by-side benchmark. See README.md in this folder."""

import argparse
import os
import shutil
import sys
import tempfile

import answers
import background
import guesser
import load
import pushes
import reads
import rest
from processes import DockerRegistry, Nginx, Orlop

MEASURES = {
    "small-blob": reads.small_blob,
    "large-blob": reads.large_blob,
    "manifest": reads.manifest,
    "large-push": pushes.large_layer,
    "small-images": pushes.small_images,
    "crowded": pushes.crowded,
    "pulls": background.pulls,
    "guesser": guesser.guesser,
    "answers": answers.answers,
    "binary": rest.binary,
    "idle": rest.idle,
    "idle-large": rest.idle_large,
    "memory-limit": pushes.under_memory_limit,
}


class Bench:
    """The sizes of a run, its servers and its results table."""

    def __init__(self, work, quick):
        self.work = work
        self.seconds = 1 if quick else 5
        self.large = (64 if quick else 1024) << 20
        self.huge = (256 << 20) if quick else (4 << 30)
        self.images = 40 if quick else 400
        self.crowd = 2_000 if quick else 100_000
        self.churn = 100 if quick else 1_000
        self.pulling = 2 if quick else 12
        self.guessing = 5 if quick else 60
        self.blobs = 20_000 if quick else 1_000_000
        self.servers = []
        self.missed = []

    def started(self, server, before=None):
        self.servers.append(server)
        server.start(before)
        return server

    def orlop(self, before=None, environment=None):
        return self.started(Orlop(self.work, environment), before)

    def nginx(self):
        return self.started(Nginx(self.work))

    def docker_registry(self):
        return self.started(DockerRegistry(self.work))

    def show(self, name, value, unit, ratio, bar, beside, more_is_better=False):
        met = ratio >= bar if more_is_better else ratio <= bar
        sign = ">=" if more_is_better else "<="
        verdict = "ok" if met else "MISSED"
        print(
            f"{name:42} {value:10.2f} {unit:4} {ratio:7.3f} x  {sign} {bar:.2f}  {verdict:7} ({beside})",
            flush=True,
        )
        if not met:
            self.missed.append(name)

    def end(self):
        for server in self.servers:
            server.remove()
        self.servers = []


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("measure", nargs="*", help=f"of {', '.join(MEASURES)}; default: all")
    parser.add_argument("--quick", action="store_true", help="small sizes, to check that it works")
    parser.add_argument("--work", default="/var/tmp", help="work folder with 12 GB of space, on a disk, not a tmpfs")
    options = parser.parse_args()
    unknown = set(options.measure) - set(MEASURES)
    if unknown:
        parser.error(f"no such measure: {', '.join(unknown)}")
    work = tempfile.mkdtemp(prefix="orlop-bench.", dir=options.work)
    os.chmod(work, 0o755)
    bench = Bench(work, options.quick)
    try:
        load.build(work)
        print(f"{'what':42} {'value':>10} unit   ratio      bar")
        for name in options.measure or MEASURES:
            try:
                MEASURES[name](bench)
            finally:
                bench.end()
    finally:
        shutil.rmtree(work, ignore_errors=True)
    # Small sizes show that it works, not how fast it is.
    if bench.missed and not options.quick:
        sys.exit(f"missed: {', '.join(bench.missed)}")


if __name__ == "__main__":
    main()
