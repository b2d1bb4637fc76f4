"""Attacks by TLS handshakes, passwords and tokens."""

import base64
import os
import random
import socket
import threading
import time

from attack import attack
from swarm import Again, Script, Swarm
from target import basic


@attack("wrong-passwords", is_new=True, processes=2, addresses=200)
def wrong_passwords(context):
    """Two hundred addresses try passwords, ten at once each. Each check takes 19 MiB and CPU time."""

    def request(worker=0, number=0):
        user = random.choice(["admin", "ann", "eve", f"u{random.randrange(1000)}"])
        return f"GET /v2/ HTTP/1.1\r\nHost: {context.host}\r\nAuthorization: {basic(user, os.urandom(6).hex())}\r\n\r\n".encode()

    class Guess(Again):
        def opening(self):
            return request()

    Swarm(context, context.share(80), lambda _: Guess(context.counts, b"", request)).run()


@attack("long-passwords", quick=False, is_new=True, processes=2, addresses=50)
def long_passwords(context):
    """Users and passwords of tens of kilobytes, and malformed Basic credentials."""
    values = [
        basic("ann", "p" * 40_000),
        basic("u" * 40_000, "p"),
        "Basic " + "A" * 50_000,
        "Basic " + base64.b64encode(b":" * 30_000).decode(),
        "Basic " + base64.b64encode(os.urandom(20_000)).decode(),
    ]
    requests = [f"GET /v2/ HTTP/1.1\r\nHost: {context.host}\r\nAuthorization: {value}\r\n\r\n".encode() for value in values]
    Swarm(context, context.share(30), lambda number: Again(context.counts, requests[number % len(requests)]), lifetime=2).run()


@attack("token-forms", quick=False, is_new=True, processes=2, addresses=20)
def token_forms(context):
    """Requests for tokens with hundreds of scopes, thousands of actions, and forms of 60 kB of escapes."""
    bodies = [
        "grant_type=password&username=ann&password=" + "%41" * 20_000,
        "&".join(f"scope=repository:r{at}:pull,push" for at in range(1800)),
        "&" * 60_000,
        "grant_type=refresh_token&refresh_token=" + "a" * 60_000,
        "scope=" + "repository:pub/app:" + "pull," * 11_000,
    ]
    form = "Content-Type: application/x-www-form-urlencoded"
    requests = [context.head("POST", "/auth/token", form, length=len(body)) + body.encode() for body in bodies]
    scopes = "&".join(f"scope=repository:pub/r{at}:pull,push,delete" for at in range(800))
    requests.append(context.head("GET", f"/auth/token?service=orlop&{scopes}"))
    requests.append(context.head("GET", "/auth/token?service=orlop&scope=repository:pub/**:" + "pull," * 5000))
    Swarm(context, context.share(30), lambda number: Again(context.counts, requests[number % len(requests)]), lifetime=2).run()


@attack("garbage-bearers", quick=False, is_new=True, processes=2, addresses=20)
def garbage_bearers(context):
    """Malformed tokens: kilobytes of Base64, huge claims, thousands of dots."""
    header = base64.urlsafe_b64encode(b'{"alg":"EdDSA","typ":"JWT"}').decode().rstrip("=")
    claims = base64.urlsafe_b64encode(b'{"sub":"ann","aud":[' + b'"x",' * 5000 + b'"orlop"]}').decode().rstrip("=")
    values = [f"{header}.{claims}.{'A' * 86}", "." * 50_000, "A" * 50_000, f"{header}." + "A" * 40_000 + "." + "A" * 86, "orlop_" + "a" * 20_000]
    requests = [f"GET /v2/pub/app/manifests/v1 HTTP/1.1\r\nHost: {context.host}\r\nAuthorization: Bearer {value}\r\n\r\n".encode() for value in values]
    Swarm(context, context.share(30), lambda number: Again(context.counts, requests[number % len(requests)]), lifetime=2).run()


@attack("refresh-tokens", quick=False, user="eve", processes=2)
def refresh_tokens(context):
    """A user requests a refresh token with every request."""

    def request(worker, number):
        return context.head("GET", f"/auth/token?service=orlop&offline_token=true&client_id={random.getrandbits(64):x}{'c' * 1000}&scope=repository:pub/app:pull")

    context.flood(max(2, context.share(2)), request, pipelined=4)


# TLS. Here the swarm uses the raw socket.

CLIENT_HELLO = bytes.fromhex("160301") + (16000).to_bytes(2, "big") + b"\x01\x00\x3e\x7c\x03\x03"


@attack("tls-half-hellos", is_new=True, tls=True, processes=2, addresses=20)
def tls_half_hellos(context):
    """ClientHellos of 16 kB whose end is never sent."""
    opening = CLIENT_HELLO + os.urandom(15_000)
    Swarm(context, context.share(150), lambda _: Script(context.counts, opening, b"\0"), tls=False, every=2).run()


@attack("tls-silence", quick=False, is_new=True, tls=True, processes=2, addresses=20)
def tls_silence(context):
    """Connections that send nothing, and some that send plain HTTP."""
    plain = context.head("GET", "/v2/")
    Swarm(context, context.share(150), lambda number: Script(context.counts, plain if number % 4 == 0 else b""), tls=False).run()


@attack("tls-handshakes", quick=False, is_new=True, tls=True, processes=2, addresses=20)
def tls_handshakes(context):
    """Repeated handshakes without a request, on dozens of connections at once."""

    def work(worker):
        while not context.is_over():
            try:
                raw = socket.create_connection(context.address, 10, (context.source(worker), 0))
                raw.settimeout(10)
                with context.ssl_context().wrap_socket(raw):
                    context.counts["handshakes"] += 1
            except OSError as error:
                context.counts[type(error).__name__] += 1
                time.sleep(0.02)

    threads = [threading.Thread(target=work, args=(worker,), daemon=True) for worker in range(max(2, context.share(4)))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(max(0, context.until + 1 - time.monotonic()))
