"""The cost of pushes: large layers and images of small ones compared with Debian's docker-registry,
the same work in a large repository, and a layer far larger than the memory limit."""

import os
import statistics
import subprocess
import time

import load
from processes import MemoryLimit


def large_layer(bench):
    ours, theirs = [], []
    for turn in range(2):
        for results, make in ((ours, bench.orlop), (theirs, bench.docker_registry)):
            server = make()
            before = server.cpu()
            load.run("blob", server.address, bytes=bench.large, seed=turn + 1)
            results.append((server.cpu() - before) / (bench.large / 2**30))
            server.remove()
    ours, theirs = min(ours), min(theirs)
    bench.show(
        "large blob push, CPU per GiB", ours, "s", ours / theirs, 0.45, f"docker-registry {theirs:.2f}"
    )


def small_images(bench):
    def rate_and_cpu(server, count):
        load.run("images", server.address, count=8, jobs=4, repo="bench/warm")
        before = server.cpu()
        report = load.run("images", server.address, count=count, jobs=4)
        cpu = (server.cpu() - before) / count * 1000
        return report["per_second"], cpu

    ours, theirs = [], []
    orlop, other = bench.orlop(), bench.docker_registry()
    for _ in range(3):
        ours.append(rate_and_cpu(orlop, bench.images))
        theirs.append(rate_and_cpu(other, max(bench.images // 5, 20)))
    (our_rate, our_cpu), (their_rate, their_cpu) = (
        tuple(statistics.median(values) for values in zip(*results)) for results in (ours, theirs)
    )
    bench.show(
        "images of 9 small blobs, 4 at a time", our_rate, "1/s", our_rate / their_rate, 4.0,
        f"docker-registry {their_rate:.1f}", more_is_better=True,
    )
    bench.show(
        "the same, CPU per image", our_cpu, "ms", our_cpu / their_cpu, 0.2,
        f"docker-registry {their_cpu:.1f}",
    )


def crowded(bench):
    """Measures the CPU of a push, a tag move and a delete in repositories with few and with very many images."""
    servers = []
    for images in (100, bench.crowd):
        server = bench.orlop()
        load.run("fill", server.address, count=images, jobs=8, repo="bench/crowd", seed=1)
        servers.append(server)
    # Work left over from filling (checkpoints, the collector's first run) must not count as cost of the steps.
    time.sleep(5)
    costs = {step: ([], []) for step in ("push", "move", "delete")}
    for turn in range(3):
        for step, results in costs.items():
            for server, values in zip(servers, results):
                before = server.cpu()
                load.run(
                    "churn", server.address, step=step, count=bench.churn, jobs=4,
                    repo="bench/crowd", seed=1000 + turn,
                )
                values.append((server.cpu() - before) / bench.churn * 1e6)
    for step, (few, many) in costs.items():
        few, many = statistics.median(few), statistics.median(many)
        bench.show(
            f"{step} with {bench.crowd} images, CPU", many, "us", many / few, 1.3,
            f"with 100: {few:.0f}",
        )


def under_memory_limit(bench):
    limit = MemoryLimit(64 << 20)
    server = bench.orlop(before=limit.enter)
    path = os.path.join(bench.work, "huge")
    try:
        digest = load.random_file(path, bench.huge)
        begun = time.monotonic()
        load.push_file(server.address, "bench/huge", path, digest)
        pushed = time.monotonic()
        os.unlink(path)
        pull = subprocess.run(
            f"curl -sf http://{server.address}/v2/bench/huge/blobs/{digest} | sha256sum",
            shell=True, capture_output=True, text=True, check=True,
        )
        whole = pull.stdout.split()[0] == digest.split(":")[1]
        works = whole and server.process.poll() is None and not limit.killed()
        bench.show(
            f"{bench.huge / 2**30:.0f} GiB layer under 64 MiB", pushed - begun, "s",
            0.0 if works else 1.0, 0.0, f"pulled in {time.monotonic() - pushed:.0f} s",
        )
    finally:
        if os.path.exists(path):
            os.unlink(path)
        server.remove()
        limit.remove()
