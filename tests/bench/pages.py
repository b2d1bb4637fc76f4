#!/usr/bin/env python3
"""pages.py BINARY [REPOSITORIES] [TAGS]: what pages cost with many repositories and one of many tags.

Starts the server on an empty folder, fills it, and prints for each page the processor time of the server (median of
five rounds) and its size. Then it opens 200 live streams and prints by how much the server's memory grows. Last, it pulls
with wrk, in turns beside nothing and beside twenty open start pages while images are pushed, and prints the latency.
"""

import hashlib
import http.client
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import threading
import time

BINARY = sys.argv[1]
REPOSITORIES = int(sys.argv[2]) if len(sys.argv) > 2 else 3000
TAGS = int(sys.argv[3]) if len(sys.argv) > 3 else 10_000
ROUNDS, REQUESTS, STREAMS = 5, 20, 200
OPEN_PAGES, TURNS, TURN_SECONDS = 20, 8, 5
MANIFEST = "application/vnd.oci.image.manifest.v1+json"


def digest(data):
    return "sha256:" + hashlib.sha256(data).hexdigest()


class Client:
    def __init__(self, port):
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)

    def request(self, method, path, body=b"", **headers):
        self.connection.request(method, path, body, headers)
        answer = self.connection.getresponse()
        text = answer.read()
        if answer.status >= 400:
            sys.exit(f"{method} {path}: {answer.status} {text[:300]}")
        return text

    def push(self, repository, number, tag):
        layer = f"layer {number}".encode() * 50
        config = json.dumps({"architecture": "amd64", "os": "linux", "n": number, "rootfs": {"type": "layers"}}).encode()
        for blob in (layer, config):
            self.request("POST", f"/v2/{repository}/blobs/uploads/?digest={digest(blob)}", blob)
        described = [{"digest": digest(blob), "size": len(blob)} for blob in (config, layer)]
        described[0]["mediaType"] = "application/vnd.oci.image.config.v1+json"
        described[1]["mediaType"] = "application/vnd.oci.image.layer.v1.tar"
        manifest = {"schemaVersion": 2, "mediaType": MANIFEST, "config": described[0], "layers": described[1:]}
        text = json.dumps(manifest).encode()
        self.request("PUT", f"/v2/{repository}/manifests/{tag}", text, **{"Content-Type": MANIFEST})
        return text


def cpu(pid):
    """The processor time of all threads so far, in seconds."""
    total = 0
    for thread in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{thread}/schedstat") as file:
            total += int(file.read().split()[0])
    return total / 1e9


def memory(pid):
    """The private memory of a process in KiB."""
    with open(f"/proc/{pid}/smaps_rollup") as file:
        lines = dict(line.split(":") for line in file.read().splitlines()[1:])
    return sum(int(lines[key].split()[0]) for key in ("Private_Clean", "Private_Dirty"))


def main():
    with tempfile.TemporaryDirectory() as folder:
        port = 20_000 + os.getpid() % 10_000
        server = subprocess.Popen(
            [BINARY, "serve", "--data", folder, "--listen", f"127.0.0.1:{port}"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            measure(server.pid, port)
        finally:
            server.terminate()
            server.wait()


def measure(pid, port):
    for _ in range(100):
        try:
            Client(port).request("GET", "/readyz")
            break
        except OSError:
            time.sleep(0.1)
    client = Client(port)
    for number in range(REPOSITORIES):
        client.push(f"team{number % 40}/app{number}", number, "v1")
    text = client.push("many/tags", -1, "v0")
    for number in range(1, TAGS):
        client.request("PUT", f"/v2/many/tags/manifests/v{number // 100}.{number % 100}", text, **{"Content-Type": MANIFEST})
    time.sleep(35)
    pages = [
        "/",
        "/repositories",
        "/repositories?sort=size",
        "/repositories?search=app29",
        "/r/many/tags",
        "/r/many/tags?sort=pushed",
        "/r/many/tags?sort=version&order=desc",
        "/r/many/tags:v5.7",
        "/r/team1/app1",
        "/manage/many/tags",
        "/untagged/many/tags",
        "/search?q=app29",
        "/policies",
        "/trash",
        "/activity",
        "/activity/events",
        "/activity/background",
    ]
    client.request("GET", "/")
    print(f"{REPOSITORIES} repositories, one of {TAGS} tags")
    for path in pages:
        size = len(client.request("GET", path))
        rounds = []
        for _ in range(ROUNDS):
            before = cpu(pid)
            for _ in range(REQUESTS):
                client.request("GET", path)
            rounds.append((cpu(pid) - before) / REQUESTS * 1000)
        print(f"{statistics.median(rounds):8.2f} ms {size / 1000:8.1f} kB  {path}")
    before = memory(pid)
    streams = []
    for number in range(STREAMS):
        # Twenty streams of each client.
        source = (f"127.0.1.{number // 20 + 1}", 0)
        stream = http.client.HTTPConnection("127.0.0.1", port, timeout=30, source_address=source)
        stream.request("GET", "/live")
        answer = stream.getresponse()
        if answer.status != 200:
            sys.exit(f"stream {number}: {answer.status}")
        streams.append((stream, answer))
    time.sleep(2)
    print(f"{STREAMS} live streams: {(memory(pid) - before) / 1024:.1f} MiB")
    for stream, _ in streams:
        stream.close()
    pulls_beside_pages(port)


class OpenPages:
    """Start pages that browsers have open: each requests itself again, twice a second at most, when something changes."""

    def __init__(self, port):
        self.port, self.are_open = port, True
        self.threads = [threading.Thread(target=self.page, args=(number,)) for number in range(OPEN_PAGES)]
        for thread in self.threads:
            thread.start()

    def page(self, number):
        source = (f"127.0.2.{number + 1}", 0)
        stream = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30, source_address=source)
        stream.request("GET", "/live")
        client = Client(self.port)
        for line in stream.getresponse():
            # The pushes go on, so that a page that is to be closed gets another event.
            if not self.are_open:
                break
            if line.startswith(b"data:"):
                time.sleep(0.5)
                client.request("GET", "/")
        stream.close()

    def close(self):
        self.are_open = False
        for thread in self.threads:
            thread.join()


def latencies(url):
    """The median and the 99th percentile of pulls, in milliseconds."""
    text = subprocess.run(
        ["wrk", "-t1", "-c4", f"-d{TURN_SECONDS}s", "--latency", url], capture_output=True, text=True, check=True
    ).stdout
    units = {"us": 0.001, "ms": 1, "s": 1000}
    found = dict(re.findall(r"^ +(50|99)% +([0-9.]+[a-z]+)$", text, re.MULTILINE))
    number = {key: re.fullmatch(r"([0-9.]+)([a-z]+)", value).groups() for key, value in found.items()}
    return tuple(float(number[key][0]) * units[number[key][1]] for key in ("50", "99"))


def pulls_beside_pages(port):
    url = f"http://127.0.0.1:{port}/v2/team1/app1/manifests/v1"
    pushes = {"go on": True}

    def push():
        client, number = Client(port), 10**6
        while pushes["go on"]:
            client.push("live/app", number, "v1")
            number += 1
            time.sleep(0.5)

    pusher = threading.Thread(target=push)
    pusher.start()
    alone, beside = [], []
    for _ in range(TURNS):
        alone.append(latencies(url))
        pages = OpenPages(port)
        beside.append(latencies(url))
        pages.close()
    pushes["go on"] = False
    pusher.join()
    for name, at in (("median", 0), ("99th percentile", 1)):
        without, with_pages = (statistics.median(turn[at] for turn in turns) for turns in (alone, beside))
        print(f"pulls, {name}: {without:.2f} ms; beside {OPEN_PAGES} open start pages: {with_pages:.2f} ms, {with_pages / without:.2f} x")


if __name__ == "__main__":
    main()
