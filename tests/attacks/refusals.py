#!/usr/bin/env python3
"""Real clients whose pushes are rejected in the middle of a layer. Each of them must receive the reason each time.

    ORLOP=target/release/orlop tests/attacks/refusals.py [--count 100] [--client docker] [--way tls]

4xx: no login (401), a quota (403), an upload that does not exist (404, by curl), a blob that is too large (413),
too many requests (429). 5xx: a budget that is used up (507)."""

import argparse
import collections
import concurrent.futures
import contextlib
import http.client
import json
import os
import re
import shutil
import sys
import tempfile
import threading

from clients import Engine, Nginx, policy, run, write_layout
from run import own_network, prepare_machine
from target import MIB, Target

LAYER_SIZE = 24_000_000
# Docker compresses its layer for each push and again for each of its five tries after a 5xx, with pauses of up to 20 s.
# So more of its pushes run at a time.
DOCKER_LAYER_SIZE = 12_000_000
SLOW_TOGETHER = 25
CLIENTS = ("curl", "skopeo", "crane", "docker")
WAYS = ("plain", "tls", "nginx", "nginx-tls")
# Errors that a client must never end with.
BROKEN = re.compile(r"broken pipe|connection reset|unexpected EOF|: EOF|use of closed|stream error|write: |framing layer", re.I)
REASON = {
    401: re.compile(r"unauthorized|authentication required|no basic auth|denied|401", re.I),
    403: re.compile(r"denied|quota", re.I),
    404: re.compile(r"BLOB_UPLOAD_UNKNOWN|404", re.I),
    413: re.compile(r"size.invalid|413", re.I),
    429: re.compile(r"TOOMANYREQUESTS|429|too many requests", re.I),
    507: re.compile(r"507|insufficient storage|UNAVAILABLE: .* full", re.I),
}
# The settings that make a server reject pushes with each status. The quota for 403 is always set.
SETTINGS = {
    # Redirects use the address of the request.
    401: {"ORLOP_SERVER__TRUSTED_PROXIES": '["127.0.0.0/8"]'},
    413: {"ORLOP_UPLOADS__MAX_SIZE": "8MB"},
    429: {"ORLOP_SERVER__RATE_LIMIT": "1"},
    507: {"ORLOP_STORAGE__BUDGET": "80MB", "ORLOP_STORAGE__BUDGET_WAIT": "1s"},
}
# Which clients retry after which status, with pauses.
IS_TRIED_AGAIN = {413: ("docker",), 429: ("skopeo", "crane", "docker"), 507: ("docker",)}


class Servers:
    """A server without TLS and one with TLS, with a quota and, for 507, a budget. nginx is in front of the first."""

    def __init__(self, work, binary, status):
        mode = "closed" if status == 401 else "open"
        self.targets = []
        for tls in (False, True):
            target = Target(work, binary, 512 * MIB, mode, tls, SETTINGS.get(status))
            target.start()
            self.targets.append(target)
            if status == 507:
                # There is space for the start of a layer.
                for _ in range(5):
                    target.push_blob("good/full", os.urandom(10_000_000), None)
        self.nginx = Nginx(work, self.targets[0].port)
        self.flood = Flood(self.targets) if status == 429 else None
        self.ports = {
            "plain": self.targets[0].port,
            "tls": self.targets[1].port,
            "nginx": self.nginx.port,
            "nginx-tls": self.nginx.tls_port,
        }
        # Clients that trust the certificate never fall back to plain HTTP. Other clients would report an error about it.
        self.trusted = {way: trust(folder) for way, folder in (("tls", self.targets[1].folder), ("nginx-tls", self.nginx.folder))}

    def is_alive(self):
        return all(target.is_alive() for target in self.targets)

    def stop(self):
        if self.flood is not None:
            self.flood.stop()
        self.nginx.stop()
        for target in self.targets:
            target.remove()


def trust(folder):
    """Creates a folder that contains only the certificate of the server in `folder`, as clients require it."""
    trusted = os.path.join(folder, "trusted")
    os.makedirs(trusted)
    shutil.copy(os.path.join(folder, "tls.crt"), os.path.join(trusted, "ca.crt"))
    return trusted


class Flood:
    """Uses up all requests that an address may send."""

    def __init__(self, targets):
        self.is_over = threading.Event()
        self.threads = [threading.Thread(target=self.run, args=(target,), daemon=True) for target in targets]
        for thread in self.threads:
            thread.start()

    def run(self, target):
        while not self.is_over.wait(0.05):
            with contextlib.suppress(OSError, http.client.HTTPException):
                target.request("GET", "/v2/", timeout=5)

    def stop(self):
        self.is_over.set()
        for thread in self.threads:
            thread.join()


class Push:
    """Rejected pushes by one client, in one way."""

    def __init__(self, work, engine, port, trusted, status):
        self.trusted = trusted
        self.work = work
        self.engine = engine
        self.host = f"127.0.0.1:{port}"
        self.scheme = "https" if trusted else "http"
        self.status = status
        # A name over the quota, or a name without one.
        self.prefix = "tight" if status == 403 else "good"

    def curl(self, number):
        """Pushes with alternating HTTP versions and kinds of bodies, and checks the whole response."""
        layer = os.path.join(self.work, "layer")
        base = f"{self.scheme}://{self.host}"
        path = f"/v2/{self.prefix}/curl{number}/blobs/uploads/"
        if self.status in (401, 404, 429):
            location = path + "00000000-0000-4000-8000-000000000000"
        else:
            code, said = run(self.work, "curl", "-sk", "-i", "-X", "POST", "-H", "Content-Length: 0", base + path)
            found = re.search(r"^location: (\S+)", said, re.I | re.M)
            if not found:
                # The budget may reject the push already here.
                return said
            location = found[1]
        version = ["--http1.1", "--http2"][number % 2] if self.scheme == "https" else ["--http1.1", "--http2-prior-knowledge"][number % 2]
        if "nginx" in self.way and self.scheme == "http":
            version = "--http1.1"
        form = ["-T", layer] if number % 4 < 2 else ["-T", layer, "-H", "Transfer-Encoding: chunked"]
        if version != "--http1.1":
            form = ["-T", layer]
        url = location if location.startswith("http") else base + location
        body = os.path.join(self.work, f"answer-{number}")
        code, said = run(
            self.work, "curl", "-sSk", version, "-X", "PATCH", "-H", "Expect:", "-H", "Content-Type: application/octet-stream",
            *form, "-o", body, "-w", "%{http_code}", url,
        )  # fmt: skip
        try:
            with open(body) as file:
                answer = file.read()
            os.unlink(body)
        except OSError:
            answer = ""
        try:
            whole = bool(json.loads(answer).get("errors"))
        except ValueError:
            whole = False
        if self.status == 429 and said.strip() == "404":
            # One request per second is permitted.
            return self.curl(number)
        if code == 0 and said.strip() == str(self.status) and whole:
            return answer + said
        return f"unexpected EOF of curl: exit {code}, {version}, {said!r}, body {answer[:200]!r}"

    def skopeo(self, number):
        certificates = f"--dest-cert-dir={self.trusted}" if self.trusted else "--dest-tls-verify=false"
        return run(
            self.work, "skopeo", "--policy", policy(self.work), "copy", certificates,
            f"oci:{self.work}/layout:one", f"docker://{self.host}/{self.prefix}/skopeo{number}:1",
        )[1]  # fmt: skip

    def crane(self, number):
        return run(self.work, "crane", "push", "--insecure", f"{self.work}/layout", f"{self.host}/{self.prefix}/crane{number}:1")[1]

    def docker(self, number):
        name = f"{self.host}/{self.prefix}/docker{number}:1"
        self.engine.docker("tag", "layer:1", name)
        said = self.engine.docker("push", name)[1]
        self.engine.docker("rmi", name)
        return said


def verdict(status, said):
    last = "".join(said.strip().splitlines()[-1:])
    if REASON[status].search(said) and not BROKEN.search(last):
        return None
    return last[-300:] or "nothing was said"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=100, help="pushes of each kind; default: 100")
    parser.add_argument("--client", action="append", choices=CLIENTS)
    parser.add_argument("--way", action="append", choices=WAYS)
    parser.add_argument("--status", action="append", type=int, choices=sorted(REASON))
    parser.add_argument("--quick", action="store_true", help="three of each; pushes that clients retry after pauses in one way only")
    parser.add_argument("--together", type=int, default=2, help="pushes at a time; default: 2")
    parser.add_argument("--work", default="/var/tmp")
    options = parser.parse_args()
    binary = os.path.abspath(os.environ.pop("ORLOP", os.environ.get("E2E_BIN", "target/release/orlop")))
    os.environ["ORLOP"] = binary
    own_network()
    prepare_machine()
    os.environ.pop("ORLOP", None)
    work = tempfile.mkdtemp(prefix="orlop-refusals.", dir=options.work)
    clients = options.client or CLIENTS
    if options.quick:
        options.count = 3
    failed = 0
    engine = None
    try:
        write_layout(os.path.join(work, "layout"), LAYER_SIZE)
        with open(os.path.join(work, "layer"), "wb") as file:
            file.write(os.urandom(LAYER_SIZE))
        if "docker" in clients:
            engine = Engine(work, "--max-concurrent-uploads=50")
            engine.image("layer:1", DOCKER_LAYER_SIZE)
        for status in options.status or sorted(set(REASON) - ({429} if options.quick else set())):
            servers = Servers(work, binary, status)
            try:
                for way in options.way or WAYS:
                    for client in clients:
                        if status == 404 and client != "curl":
                            continue
                        push = Push(work, engine, servers.ports[way], servers.trusted.get(way), status)
                        push.way = way
                        is_slow = client in IS_TRIED_AGAIN.get(status, ())
                        if options.quick and is_slow and way != "nginx":
                            continue
                        together = SLOW_TOGETHER if is_slow else options.together
                        with concurrent.futures.ThreadPoolExecutor(together) as pool:
                            answers = list(pool.map(getattr(push, client), range(options.count)))
                        wrong = collections.Counter(filter(None, (verdict(status, said) for said in answers)))
                        bad = sum(wrong.values())
                        failed += bad
                        print(f"{status} {client:7} {way:10} {options.count - bad:4} of {options.count} saw the reason", flush=True)
                        for said, times in wrong.most_common(2):
                            print(f"    {times} x {said}", flush=True)
                if not servers.is_alive():
                    print("a server ended")
                    failed += 1
            finally:
                servers.stop()
        if engine is not None:
            lost = len(re.findall(r"broken pipe|connection reset by peer|unexpected EOF", engine.log()))
            print(f"the engine's log has {lost} broken connections")
    finally:
        if engine is not None:
            engine.stop()
        shutil.rmtree(work, ignore_errors=True)
    sys.exit(bool(failed))


if __name__ == "__main__":
    main()
