"""The cost of an idle server: memory, start time, also with a large store, and the size of the binary."""

import os
import pathlib
import sqlite3
import statistics
import time

import load
from processes import Orlop


def binary(bench):
    size = os.path.getsize(Orlop.binary) / 1e6
    bench.show("binary", size, "MB", size / 25, 1.0, "at most 25")


def idle(bench):
    server = bench.orlop()
    starts = measure_starts(server)
    time.sleep(2)
    memory = server.memory()
    bench.show("idle memory, empty store", memory, "MiB", memory / 20, 1.0, "at most 20")
    bench.show("ready after start, empty store", starts, "ms", starts / 100, 1.0, "at most 100")


def idle_large(bench):
    server = bench.orlop()
    load.push_image(server.address, "bench/idle", "latest")
    server.stop()
    (database,) = pathlib.Path(server.folder).rglob("orlop.db")
    grow(database, bench.blobs)
    starts = measure_starts(server)
    time.sleep(2)
    memory = server.memory()
    count = f"{bench.blobs:,} blobs"
    bench.show(f"idle memory, {count}", memory, "MiB", memory / 20, 1.0, "at most 20")
    bench.show(f"ready after start, {count}", starts, "ms", starts / 100, 1.0, "at most 100")


def measure_starts(server):
    times = []
    for _ in range(5):
        server.stop()
        times.append(server.start() * 1000)
    return statistics.median(times)


def grow(path, blobs):
    """Records as many blobs, in images of ten, as a busy registry has after years: each one linked and
    referenced by a tagged manifest. The files don't exist, because the start must not read them."""
    database = sqlite3.connect(path, isolation_level=None)
    now = int(time.time() * 1000)
    database.executescript("PRAGMA synchronous = OFF; PRAGMA cache_size = -200000; BEGIN;")
    repo, first = database.execute(
        "SELECT (SELECT max(id) FROM repositories), (SELECT max(id) FROM manifests)"
    ).fetchone()
    database.execute("CREATE TEMP TABLE made (number INTEGER PRIMARY KEY, digest BLOB)")
    # Ordered by digest, so that the tables clustered by digest are filled sequentially.
    database.execute(
        "INSERT INTO made (digest) WITH RECURSIVE n (i) AS "
        "(SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?) "
        "SELECT CAST(x'01' || randomblob(32) AS BLOB) AS digest FROM n ORDER BY 1",
        (blobs,),
    )
    database.execute(
        "INSERT INTO blobs (digest, size, generation, allocated, measured, links) "
        "SELECT digest, 1000, randomblob(16), 4096, 1, 1 FROM made ORDER BY digest"
    )
    database.execute(
        "INSERT INTO links (repo, digest, leased_at) SELECT ?, digest, ? FROM made ORDER BY digest",
        (repo, now),
    )
    database.execute(
        "INSERT INTO manifests (id, repo, digest, pushed_at, leased_at, size, media_type, content) "
        "SELECT ?1 + number, ?2, CAST(x'01' || randomblob(32) AS BLOB), ?3, ?3, 900, "
        "'application/vnd.oci.image.manifest.v1+json', zeroblob(900) "
        "FROM made WHERE number <= ?4 / 10",
        (first, repo, now, blobs),
    )
    database.execute(
        "INSERT INTO edges (manifest, target, kind, repo, required) "
        "SELECT ?1 + (number - 1) / 10 + 1, digest, 0, ?2, 1 FROM made WHERE number <= ?3 / 10 * 10",
        (first, repo, blobs),
    )
    database.execute(
        "INSERT INTO tags (repo, name, manifest, updated_at) "
        "SELECT repo, 't' || id, id, pushed_at FROM manifests WHERE id > ?",
        (first,),
    )
    # The server keeps these sums for the rows that it adds itself.
    database.execute(
        "UPDATE repositories SET blobs = blobs + ?2, bytes = bytes + ?2 * 1000, own_bytes = own_bytes + ?2 * 1000, "
        "allocated = allocated + ?2 * 4096, own_allocated = own_allocated + ?2 * 4096, tags = tags + ?2 / 10, "
        "manifests = manifests + ?2 / 10, live = live + ?2 / 10, manifest_bytes = manifest_bytes + ?2 / 10 * 900, "
        "pushed_at = ?3 WHERE id = ?1",
        (repo, blobs, now),
    )
    database.execute(
        "UPDATE totals SET blobs = blobs + ?1, bytes = bytes + ?1 * 1000, allocated = allocated + ?1 * 4096, "
        "manifests = manifests + ?1 / 10",
        (blobs,),
    )
    database.execute("COMMIT")
    database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    database.close()
