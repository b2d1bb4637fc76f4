"""The cost of pulls: small blobs, manifests and large blobs, compared with nginx serving the same bytes."""

import json
import os
import pathlib
import re
import resource
import socket
import statistics
import subprocess

import load

ROUNDS = 3


def wrk(address, path, seconds, accept="*/*"):
    """Sends requests over eight kept-alive connections. Any response other than 2xx ends the run."""
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
    """Medians of alternating rounds, so that other load on the machine affects both."""
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
    path = os.path.join(bench.work, "large")
    digest = load.random_file(path, bench.large)
    load.push_file(orlop.address, "bench/read", path, digest)
    os.unlink(path)
    # The same file, because the cost of sending depends on the placement of its pages in memory.
    (stored,) = pathlib.Path(orlop.folder).rglob(f"{digest.partition(':')[2]}.*")
    stored.parent.chmod(0o755)
    stored.chmod(0o644)
    os.link(stored, os.path.join(nginx.www, "large"))

    # A reader that is fast enough leaves all the work to the server. A slower one, like curl, does much of the
    # server's work itself, in the kernel, and slows the server down. In this case the CPU of both counts.
    readers = (("server", read_fast, server_cpu), ("with curl's", read_by_curl, all_cpu))
    for name, fetch, cpu in readers:

        def per_gib(server, path):
            before = cpu(server)
            # Several in a row, because /proc has a resolution of a hundredth of a second.
            for _ in range(4):
                fetch(server, path, bench.large)
            return (cpu(server) - before) / 4 / (bench.large / 2**30)

        fetch(orlop, f"/v2/bench/read/blobs/{digest}", bench.large)
        ours, theirs = side_by_side(
            lambda: per_gib(orlop, f"/v2/bench/read/blobs/{digest}"),
            lambda: per_gib(nginx, "/large"),
        )
        bench.show(f"large blob GET, CPU per GiB ({name})", ours, "s", ours / theirs, 1.2, f"nginx {theirs:.3f}")


def server_cpu(server):
    return server.cpu()


def all_cpu(server):
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return server.cpu() + usage.ru_utime + usage.ru_stime


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
