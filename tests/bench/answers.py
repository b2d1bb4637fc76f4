"""How long queries take on a store of many years: what a policy would remove, what uses the disk, and why an image is
kept."""

import os
import pathlib
import sqlite3
import subprocess
import time

import load
from rest import grow

POLICY = '[[retention.policies]]\npreset = "ci"\nrepositories = ["**"]\n'


def answers(bench):
    """Measures one repository with a tag per ten blobs, nearly all of which the policy would expire."""
    server = bench.orlop()
    load.push_image(server.address, "bench/old", "latest")
    server.stop()
    (database,) = pathlib.Path(server.folder).rglob("orlop.db")
    grow(database, bench.blobs)
    with sqlite3.connect(database) as opened:
        # Builds of ten branches, one every 50 seconds.
        opened.execute(
            "UPDATE tags SET name = printf('branch%d-%07x', manifest % 10, manifest), "
            "updated_at = updated_at - manifest * 50000 WHERE name LIKE 't%'"
        )
        (blob,) = opened.execute("SELECT hex(digest) FROM blobs LIMIT 1 OFFSET ?", (bench.blobs // 2,)).fetchone()
    config = os.path.join(server.folder, "orlop.toml")
    with open(config, "w") as file:
        file.write(POLICY)
    server.environment = {"ORLOP_CONFIG": config}
    server.start()

    def ask(what, limit, *question):
        times = []
        for _ in range(3):
            begun = time.monotonic()
            subprocess.run(
                [server.binary, *question, "--data", server.folder], stdout=subprocess.DEVNULL, check=True
            )
            times.append(time.monotonic() - begun)
        seconds = min(times)
        bench.show(what, seconds, "s", seconds / limit, 1.0, f"at most {limit}")

    ask(f"plan of {bench.blobs // 10:,} tags", 2, "retention", "plan")
    ask(f"usage, {bench.blobs:,} blobs", 1, "usage")
    ask(f"usage of a repository, {bench.blobs:,} blobs", 1, "usage", "bench/old")
    ask(f"why, {bench.blobs:,} blobs", 1, "why", f"sha256:{blob[2:].lower()}")
