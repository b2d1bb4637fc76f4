"""Attacks by connections, request heads and HTTP/1.1 framing."""

import random
import socket
import threading
import time
import uuid

from attack import attack
from swarm import Again, Script, Swarm


@attack("livez-keepers", processes=2, seconds=15)
def livez_keepers(context):
    """One address opens more connections than the server accepts, and keeps each alive with GET /livez."""
    request = context.head("GET", "/livez")
    Swarm(context, context.share(1100), lambda _: Script(context.counts, request, request), every=3).run()


@attack("crowd-of-addresses", quick=False, is_new=True, processes=2, addresses=60, seconds=15)
def crowd_of_addresses(context):
    """Sixty addresses together hold all connections, each with a cheap request that changes from time to time."""
    paths = ["/livez", "/v2/", "/readyz", "/v2/pub/app/manifests/v1", "/nothing"]

    def drip():
        return context.head("GET", random.choice(paths))

    Swarm(context, context.share(1100), lambda _: Script(context.counts, drip(), drip), every=2).run()


@attack("half-heads", is_new=True, processes=2, addresses=20)
def half_heads(context):
    """Heads of 60 kB whose end is never sent, one byte per second."""
    head = context.head("GET", "/v2/")[:-2] + b"".join(b"x-%d: " % at + b"a" * 3700 + b"\r\n" for at in range(16))
    Swarm(context, context.share(400), lambda _: Script(context.counts, head + b"x-last: ", b"a"), every=1).run()


@attack("head-size-limits", quick=False, is_new=True, addresses=10)
def head_size_limits(context):
    """Repeated heads with thousands of short fields, with one long field, and with a long target."""
    heads = [
        context.head("GET", "/v2/", *[f"a{at}: b" for at in range(5000)]),
        context.head("GET", "/v2/", "cookie: " + "a=b; " * 12000),
        context.head("GET", "/v2/pub/app/tags/list?last=" + "%61" * 20000),
        context.head("GET", "/v2/" + "a/" * 20000 + "tags/list"),
    ]
    Swarm(context, context.share(40), lambda number: Again(context.counts, heads[number % len(heads)]), lifetime=2).run()


@attack("pipelining", is_new=True, processes=2, addresses=10)
def pipelining(context):
    """Thousands of requests on each connection before the first response is read, and responses that are never read."""
    requests = context.head("GET", "/v2/pub/app/manifests/v1") * 2000
    Swarm(context, context.share(40), lambda _: Script(context.counts, requests, requests), read=False, receive_buffer=4096, every=1).run()


@attack("head-flood", quick=False, is_new=True, processes=2, addresses=8)
def head_flood(context):
    """HEAD of manifests and blobs that do not exist, in batches, as fast as they are answered."""

    def request(worker, number):
        # Blobs and manifests of names that are in no cache.
        digest = f"sha256:{random.getrandbits(256):064x}"
        kind = ("blobs", "manifests")[number % 2]
        return context.head("HEAD", f"/v2/pub/n{number % 977}/{kind}/{digest}")

    flood_heads(context, max(1, context.share(4)), request)


def flood_heads(context, workers, request):
    """Like Context.flood, for responses without bodies."""

    def work(worker):
        number = 0
        while not context.is_over():
            try:
                with context.connect(worker) as sock:
                    while not context.is_over():
                        sock.sendall(b"".join(request(worker, number + at) for at in range(32)))
                        number += 32
                        left = 32
                        tail = b""
                        while left > 0:
                            data = tail + sock.recv(1 << 16)
                            if len(data) == len(tail):
                                raise ConnectionError("closed")
                            found = data.count(b"\r\n\r\n")
                            context.counts["answers"] += found
                            left -= found
                            # A terminator split between two reads belongs to the next piece.
                            tail = data[-3:] if not data.endswith(b"\r\n\r\n") else b""
            except OSError as error:
                context.counts[type(error).__name__] += 1
                time.sleep(0.05)

    threads = [threading.Thread(target=work, args=(worker,), daemon=True) for worker in range(workers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(max(0, context.until + 1 - time.monotonic()))


@attack("chunk-extensions", is_new=True, mode="open", user="mallory", addresses=4, processes=2)
def chunk_extensions(context):
    """Uploads in chunks of one byte with kilobytes of extensions, and endless trailers after the last chunk."""
    digest = "sha256:" + "0" * 64
    head = context.head("POST", f"/v2/evil/chunks/blobs/uploads/?digest={digest}", "Transfer-Encoding: chunked")
    chunks = (b"1;" + b"a" * 4000 + b"=" + b"b" * 4000 + b"\r\nx\r\n") * 100
    tiny = b"1\r\nx\r\n" * 20000
    trailers = b"0\r\n" + b"".join(b"t%d: " % at + b"a" * 1000 + b"\r\n" for at in range(200))
    forms = [head + chunks * 10, head + tiny, head + trailers * 5]
    Swarm(context, context.share(30), lambda number: Script(context.counts, forms[number % 3], chunks), every=0.5, lifetime=4).run()


@attack("expect-continue", quick=False, is_new=True, mode="open", user="mallory", processes=2, addresses=10)
def expect_continue(context):
    """Pushes that announce 4 MB, expect 100-continue and never send the body."""
    kinds = [
        context.head("PUT", "/v2/evil/expect/manifests/v1", "Expect: 100-continue", f"Content-Type: {MANIFEST}", length=4_000_000),
        context.head("POST", "/v2/evil/expect/blobs/uploads/?digest=sha256:" + "0" * 64, "Expect: 100-continue", length=4_000_000),
        context.head("POST", "/api/v1/retention/check", "Expect: 100-continue", "Content-Type: application/json", length=60_000),
    ]
    Swarm(context, context.share(150), lambda number: Script(context.counts, kinds[number % 3])).run()


MANIFEST = "application/vnd.oci.image.manifest.v1+json"


@attack("connection-churn", quick=False, is_new=True, processes=2, addresses=50)
def connection_churn(context):
    """Connections that are opened and reset immediately, half of them in the middle of a request."""
    half = context.head("GET", "/v2/pub/big/tags/list")[:-2]
    number = 0
    wanted = int(context.share(400) * max(1.0, context.attack.seconds))
    while not context.is_over() and number < wanted:
        number += 1
        try:
            with socket.socket() as sock:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
                sock.settimeout(2)
                sock.bind((context.source(number), 0))
                sock.connect(context.address)
                if number % 2:
                    sock.send(half)
            context.counts["connections"] += 1
        except OSError as error:
            context.counts[type(error).__name__] += 1


@attack("unknown-uploads", quick=False, processes=2, addresses=4)
def unknown_uploads(context):
    """Requests for uploads that do not exist, each with a different id."""

    def request(worker, number):
        return context.head("GET", f"/v2/evil/none/blobs/uploads/{uuid.uuid4()}")

    context.flood(max(1, context.share(4)), request, pipelined=32)


@attack("denied-names", quick=False, is_new=True, processes=2, addresses=50)
def denied_names(context):
    """Denied changes with names and users that are all different and as long as permitted. The audit log and the
    counters of failed logins must not grow with them."""

    def request(worker, number):
        name = f"{number}-{random.getrandbits(64):x}" + "a" * 3000
        return context.head("DELETE", f"/v2/evil/{number % 9999}{'a' * 200}/manifests/{name[:120]}", f"User-Agent: {name}", f"X-Forwarded-For: {name}")

    context.flood(max(1, context.share(4)), request, pipelined=16)
