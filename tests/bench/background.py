"""How background work affects pulls: retention, collection and scrub, all at once."""

import os
import re
import statistics
import urllib.request

import load

# Expired images are collected immediately.
AT_REST = {"ORLOP_GC__LEASE": "1s", "ORLOP_GC__TRASH": "1s", "ORLOP_SCRUB__PERIOD": "off"}
# Far busier than any real server: the next pass starts as soon as the last one has ended.
BUSY = AT_REST | {
    "ORLOP_GC__INTERVAL": "200ms",
    "ORLOP_RETENTION__INTERVAL": "1s",
    "ORLOP_SCRUB__PERIOD": "1m",
}

POLICY = """
[[retention.policies]]
name = "churn"
repositories = ["bench/churn"]
[[retention.policies.rules]]
name = "old"
action = "expire"
tags = ["c*"]
"""

# The average size of each of the nine layers, and the number of pulls started per second.
IMAGES = {"small layers": (8 << 10, 200), "layers of 1 MiB": (1 << 20, 40)}

# The counters of each kind of work, to check that it ran during the pulls.
WORK = (
    "orlop_retention_expired_tags_total",
    "orlop_collector_reclaimed_bytes_total",
    "orlop_scrub_checked_bytes_total",
)


def pulls(bench):
    """Measures the 99th percentile of complete pulls at a steady rate, with and without background work."""
    server = bench.orlop(environment=AT_REST)
    load.run("fill", server.address, count=bench.crowd // 10, jobs=8, repo="bench/churn", seed=1)
    for number, (layer, _) in enumerate(IMAGES.values()):
        load.run("images", server.address, count=64, jobs=4, layer=layer, repo=f"bench/{number}", seed=1)
    config = os.path.join(server.folder, "orlop.toml")
    with open(config, "w") as file:
        file.write(POLICY)
    results = {kind: ([], []) for kind in IMAGES}
    for turn in range(5):
        for number, (kind, (_, rate)) in enumerate(IMAGES.items()):
            # Alternate which one is first, because other load on this machine varies.
            for busy in (False, True) if turn % 2 else (True, False):
                restart(server, AT_REST)
                if busy:
                    # Enough images to expire and collect during all pulls.
                    load.run(
                        "churn", server.address, count=bench.churn * 4, jobs=8, repo="bench/churn",
                        seed=10 + turn * len(IMAGES) + number,
                    )
                    restart(server, BUSY | {"ORLOP_CONFIG": config})
                report = load.run(
                    "pulls", server.address, count=bench.pulling * rate, rate=rate, jobs=8,
                    images=64, repo=f"bench/{number}", seed=1,
                )
                results[kind][busy].append(report["p99_ms"])
                if busy:
                    see_work(server)
    for kind, (at_rest, busy) in results.items():
        at_rest, busy = statistics.median(at_rest), statistics.median(busy)
        bench.show(
            f"pulls during all work, {kind}, p99", busy, "ms", busy / at_rest, 1.5, f"at rest {at_rest:.2f}"
        )


def restart(server, environment):
    server.stop()
    server.environment = environment
    server.start()


def see_work(server):
    with urllib.request.urlopen(f"http://{server.address}/metrics") as answer:
        metrics = answer.read().decode()
    for name in WORK:
        found = re.search(rf"^{name}(?:{{.*}})? (\S+)$", metrics, re.MULTILINE)
        if not found or float(found[1]) == 0:
            raise SystemExit(f"{name} shows that no work was done")
