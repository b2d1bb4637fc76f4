#!/usr/bin/env python3
"""Two hundred clients push and pull at once, all from one address, then all through nginx. None of them is rejected.

    ORLOP=target/release/orlop tests/attacks/fairness.py [--clients 200]"""

import argparse
import collections
import hashlib
import json
import multiprocessing
import os
import shutil
import socket
import sys
import tempfile
import threading
import time

from clients import Nginx
from run import own_network, prepare_machine
from target import CONFIG, LAYER, MANIFEST, MIB, Target, basic, describe

PROCESSES = 4
PAUSE = 0.1


class Refused(Exception):
    pass


class Client:
    """One client: pushes and pulls its image over one connection. Counts every unexpected response."""

    layer_size = 400_000
    # A layer is sent in this many pieces with a pause after each, so that all uploads are open at the same time.
    pieces = 10

    def __init__(self, address, source, number, user):
        self.address = address
        self.source = source
        self.number = number
        self.user = user
        self.socket = None

    def connect(self):
        self.socket = socket.create_connection(self.address, 60, (self.source, 0))
        self.socket.settimeout(120)

    def send(self, method, path, wanted, body=b"", kind=None, pieces=1):
        head = f"{method} {path} HTTP/1.1\r\nHost: {self.address[0]}:{self.address[1]}\r\nAccept: {MANIFEST}\r\n"
        if self.user:
            head += f"Authorization: {basic(self.user)}\r\n"
        if kind:
            head += f"Content-Type: {kind}\r\n"
        if method != "GET":
            head += f"Content-Length: {len(body)}\r\n"
        self.socket.sendall(head.encode() + b"\r\n")
        size = -(-len(body) // pieces) or 1
        for at in range(0, len(body), size):
            self.socket.sendall(body[at : at + size])
            if pieces > 1:
                time.sleep(PAUSE)
        data = b""
        while b"\r\n\r\n" not in data:
            piece = self.socket.recv(1 << 16)
            if not piece:
                raise Refused(f"{method} {path}: closed")
            data += piece
        head, _, rest = data.partition(b"\r\n\r\n")
        fields = {
            name.lower(): value.strip()
            for name, _, value in (line.partition(":") for line in head.decode("latin-1").split("\r\n")[1:])
        }
        length = int(fields.get("content-length", 0))
        while len(rest) < length:
            piece = self.socket.recv(1 << 16)
            if not piece:
                raise Refused(f"{method} {path}: closed in the body")
            rest += piece
        if int(head[9:12]) != wanted:
            raise Refused(f"{method} {path.split('/uploads/')[0]}: {head[9:12].decode()} {rest[:200]!r}")
        return fields, rest

    def run(self):
        self.connect()
        repository = f"good/c{self.number}"
        blobs = [json.dumps({"architecture": "amd64", "os": "linux", "n": self.number}).encode()]
        blobs += [os.urandom(self.layer_size) for _ in range(2)]
        for data in blobs:
            fields, _ = self.send("POST", f"/v2/{repository}/blobs/uploads/", 202)
            fields, _ = self.send("PATCH", path_of(fields), 202, data, "application/octet-stream", self.pieces if len(data) > 1000 else 1)
            location = path_of(fields)
            digest = "sha256:" + hashlib.sha256(data).hexdigest()
            self.send("PUT", location + ("&" if "?" in location else "?") + "digest=" + digest, 201)
        manifest = {"schemaVersion": 2, "mediaType": MANIFEST, "config": describe(blobs[0], CONFIG)}
        manifest["layers"] = [describe(data, LAYER) for data in blobs[1:]]
        data = json.dumps(manifest).encode()
        self.send("PUT", f"/v2/{repository}/manifests/v1", 201, data, MANIFEST)
        _, got = self.send("GET", f"/v2/{repository}/manifests/v1", 200)
        if got != data:
            raise Refused("another manifest")
        for blob in blobs:
            _, got = self.send("GET", f"/v2/{repository}/blobs/sha256:{hashlib.sha256(blob).hexdigest()}", 200)
            if got != blob:
                raise Refused("other bytes")


def path_of(fields):
    location = fields["location"]
    return "/" + location.split("://", 1)[1].split("/", 1)[1] if "://" in location else location


def some(numbers, address, source, user, pipe):
    """Runs the clients of one process, each in its own thread."""
    wrong = collections.Counter()
    took = []

    def one(number):
        begun = time.monotonic()
        try:
            Client(address, source(number), number, user).run()
        except (OSError, Refused) as error:
            wrong[f"{type(error).__name__}: {error}"] += 1
        took.append(time.monotonic() - begun)

    threads = [threading.Thread(target=one, args=(number,)) for number in numbers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    pipe.send((wrong, took))


def crowd(name, address, count, source, user):
    """Runs `count` clients at once. Returns True if none was rejected."""
    begun = time.monotonic()
    pipes = []
    processes = []
    for part in range(PROCESSES):
        ours, theirs = multiprocessing.Pipe(duplex=False)
        numbers = range(part, count, PROCESSES)
        process = multiprocessing.Process(target=some, args=(numbers, address, source, user, theirs), daemon=True)
        process.start()
        pipes.append(ours)
        processes.append(process)
    wrong, took = collections.Counter(), []
    for pipe in pipes:
        their_wrong, their_took = pipe.recv()
        wrong.update(their_wrong)
        took += their_took
    refused = sum(wrong.values())
    print(f"{name:44} {count - refused:4} of {count} in {time.monotonic() - begun:5.1f} s, the slowest {max(took):5.1f} s", flush=True)
    for error, times in wrong.most_common(3):
        print(f"    {times} x {error}", flush=True)
    return not refused


def one_address(_):
    return "127.0.0.9"


def own_address(number):
    return f"127.50.{number // 250}.{1 + number % 250}"


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clients", type=int, default=200)
    parser.add_argument("--quick", action="store_true", help="smaller images, and two of the five set-ups")
    parser.add_argument("--work", default="/var/tmp")
    options = parser.parse_args()
    binary = os.path.abspath(os.environ.pop("ORLOP", os.environ.get("E2E_BIN", "target/release/orlop")))
    os.environ["ORLOP"] = binary
    own_network()
    prepare_machine()
    os.environ.pop("ORLOP", None)
    work = tempfile.mkdtemp(prefix="orlop-fairness.", dir=options.work)
    is_fair = True
    try:
        ways = [
            ("one address, no login", "open", None, None, one_address),
            ("one address, one user", "closed", "ann", None, one_address),
            ("through nginx, no login", "open", None, "unlisted", own_address),
            ("through trusted nginx, no login", "open", None, "listed", own_address),
            ("through trusted nginx, one user", "closed", "ann", "listed", own_address),
        ]
        if options.quick:
            Client.layer_size, Client.pieces = 40_000, 4
            ways = [ways[0], ways[3]]
        for name, mode, user, proxy, source in ways:
            settings = {"ORLOP_SERVER__TRUSTED_PROXIES": '["127.0.0.1"]'} if proxy == "listed" else {}
            target = Target(work, binary, 512 * MIB, mode, settings=settings)
            nginx = None
            try:
                target.start()
                target.fill()
                address = target.address
                if proxy:
                    nginx = Nginx(work, target.port)
                    address = ("127.0.0.1", nginx.port)
                is_fair &= crowd(name, address, options.clients, source, user)
                if target.group.kills() or not target.is_alive():
                    print("    killed")
                    is_fair = False
            finally:
                if nginx is not None:
                    nginx.stop()
                target.remove()
    finally:
        shutil.rmtree(work, ignore_errors=True)
    sys.exit(not is_fair)


if __name__ == "__main__":
    main()
