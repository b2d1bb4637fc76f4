"""What it costs to serve: small blobs, manifests and large blobs, beside nginx with the same bytes."""

import json
import os
import re
import socket
import statistics
import subprocess

import load

ROUNDS = 3


def wrk(address, path, seconds, accept="*/*"):
    """Requests done over eight kept connections; any answer but 2xx ends the run."""
    done = subprocess.run(
        ["wrk", "-t1", "-c8", f"-d{seconds}s", "-H", f"Accept: {accept}", f"http://{address}{path}"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    if "Non-2xx" in done or "Socket errors" in done:
        raise SystemExit(f"wrk {path}:\n{done}")
    return int(re.search(r"(\d+) requests in", done)[1])


def micros_per_request(server, path, seconds, accept="*/*"):
    wrk(server.address, path, 1, accept)
    before = server.cpu()
    requests = wrk(server.address, path, seconds, accept)
    return (server.cpu() - before) / requests * 1e6


def side_by_side(ours, theirs):
    """Medians of alternating rounds: what else the machine does hits both."""
    pairs = [(ours(), theirs()) for _ in range(ROUNDS)]
    return tuple(statistics.median(values) for values in zip(*pairs))


def small_blob(bench):
    data = os.urandom(16 * 1024)
    orlop, nginx = bench.orlop(), bench.nginx()
    digest = load.push_blob(orlop.address, "bench/read", data)
    with open(os.path.join(nginx.www, "blob"), "wb") as file:
        file.write(data)
    ours, theirs = side_by_side(
        lambda: micros_per_request(
            orlop, f"/v2/bench/read/blobs/{digest}", bench.seconds
        ),
        lambda: micros_per_request(nginx, "/blob", bench.seconds),
    )
    bench.show("16 KiB blob GET, CPU", ours, "us", ours / theirs, 2.0, f"nginx {theirs:.1f}")


def manifest(bench):
    orlop, nginx = bench.orlop(), bench.nginx()
    data = load.push_image(orlop.address, "bench/read", "latest")
    with open(os.path.join(nginx.www, "manifest"), "wb") as file:
        file.write(data)
    ours, theirs = side_by_side(
        lambda: micros_per_request(
            orlop,
            "/v2/bench/read/manifests/latest",
            bench.seconds,
            json.loads(data)["mediaType"],
        ),
        lambda: micros_per_request(nginx, "/manifest", bench.seconds),
    )
    bench.show("manifest GET by tag, CPU", ours, "us", ours / theirs, 40 / 19, f"nginx {theirs:.1f}")


def large_blob(bench):
    orlop, nginx = bench.orlop(), bench.nginx()
    path = os.path.join(nginx.www, "large")
    digest = load.random_file(path, bench.large)
    load.push_file(orlop.address, "bench/read", path, digest)
    forget_cached(path)

    # What serving costs depends on the reader: where it is the slower side, as most clients are,
    # the kernel charges it for much of the way, and what is left is the server's own copying.
    for reader, fetch in (("1 MiB reads", read_fast), ("curl", read_by_curl)):

        def per_gib(server, path):
            before = server.cpu()
            # Several in a row: a hundredth of a second is all that /proc can tell.
            for _ in range(4):
                fetch(server, path, bench.large)
            return (server.cpu() - before) / 4 / (bench.large / 2**30)

        # Both from the disk at first: what a write left in the page cache is other than what a read does.
        fetch(orlop, f"/v2/bench/read/blobs/{digest}", bench.large)
        fetch(nginx, "/large", bench.large)
        ours, theirs = side_by_side(
            lambda: per_gib(orlop, f"/v2/bench/read/blobs/{digest}"),
            lambda: per_gib(nginx, "/large"),
        )
        bench.show(
            f"large blob GET ({reader}), CPU per GiB", ours, "s", ours / theirs, 1.2, f"nginx {theirs:.3f}"
        )


def forget_cached(path):
    with open(path, "rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def read_fast(server, path, size):
    with socket.create_connection(("127.0.0.1", server.port)) as connection:
        connection.sendall(f"GET {path} HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n".encode())
        buffer, got = bytearray(1 << 20), 0
        while count := connection.recv_into(buffer):
            got += count
        if got < size:
            raise SystemExit(f"{path}: {got} bytes of {size}")


def read_by_curl(server, path, _size):
    subprocess.run(["curl", "-sf", "-o", "/dev/null", f"http://{server.address}{path}"], check=True)
