"""What those who pull notice of the work behind: retention, collection and scrub, all at once."""

import os
import re
import statistics
import urllib.request

import load

# What is let go is collected at once.
AT_REST = {"ORLOP_GC__LEASE": "1s", "ORLOP_GC__TRASH": "1s", "ORLOP_SCRUB__PERIOD": "off"}
# Far busier than any server is: the next pass begins as soon as the last has ended.
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

# About how many bytes the nine layers have each, and how many pulls begin in a second.
IMAGES = {"small layers": (8 << 10, 200), "layers of 1 MiB": (1 << 20, 40)}

# What each kind of work counts, to see that it was done while the pulls went on.
WORK = (
    "orlop_retention_expired_tags_total",
    "orlop_collector_reclaimed_bytes_total",
    "orlop_scrub_checked_bytes_total",
)


def pulls(bench):
    """The 99th percentile of whole pulls, at a steady rate, with everything going on and without."""
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
            # In turn the first: what this machine does besides comes and goes.
            for busy in (False, True) if turn % 2 else (True, False):
                restart(server, AT_REST)
                if busy:
                    # Enough to let go and collect for as long as the pulls go on.
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
            f"pulls beside all work, {kind}, p99", busy, "ms", busy / at_rest, 1.5, f"at rest {at_rest:.2f}"
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
            raise SystemExit(f"{name} says that nothing was done")
