"""The well-behaved clients: they pull and push small images from their own address during an attack, and measure how
long each operation takes, including retries."""

import hashlib
import json
import multiprocessing
import os
import socket
import threading
import time

from target import CONFIG, LAYER, MANIFEST, basic, describe, ssl_context

ADDRESS = "127.0.0.2"
THREADS = 3
PAUSE = 0.1
# A client gives up after this time. Unanswered operations have failed.
PATIENCE = 30.0


class Lost(Exception):
    """The connection ended, or the response was unexpected."""


class Busy(Exception):
    """The server requests a retry."""

    def __init__(self, status, wait):
        super().__init__(str(status))
        self.wait = wait


class Connection:
    """A minimal HTTP/1.1 client, so that its own cost is low."""

    def __init__(self, address, source, tls, user):
        self.host = f"{address[0]}:{address[1]}"
        self.user = user
        self.socket = socket.create_connection(address, 10, (source, 0))
        self.socket.settimeout(PATIENCE)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if tls:
            self.socket = ssl_context().wrap_socket(self.socket)

    def request(self, method, path, wanted, body=b"", media_type=None):
        head = f"{method} {path} HTTP/1.1\r\nHost: {self.host}\r\nAuthorization: {basic(self.user)}\r\nAccept: {MANIFEST}\r\n"
        if method != "GET":
            head += f"Content-Length: {len(body)}\r\n"
        if media_type:
            head += f"Content-Type: {media_type}\r\n"
        self.socket.sendall(head.encode() + b"\r\n" + body)
        data = b""
        while b"\r\n\r\n" not in data:
            piece = self.socket.recv(1 << 16)
            if not piece:
                raise Lost("no answer")
            data += piece
        head, _, rest = data.partition(b"\r\n\r\n")
        lines = head.decode("latin-1").split("\r\n")
        status = int(lines[0][9:12])
        fields = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])}
        left = int(fields.get("content-length", 0)) - len(rest)
        pieces = [rest]
        while left > 0:
            piece = self.socket.recv(1 << 16)
            if not piece:
                raise Lost("incomplete response")
            pieces.append(piece)
            left -= len(piece)
        if status in (429, 502, 503, 504):
            raise Busy(status, min(float(fields.get("retry-after", 1)), 5))
        if status != wanted:
            raise Lost(f"{method} {path}: {status} {b''.join(pieces)[:200]!r}")
        return b"".join(pieces)

    def close(self):
        self.socket.close()


class Victim:
    """Runs in its own process. `stop` returns [kind, started, seconds, retries, error] of each operation."""

    def __init__(self, target, source=ADDRESS, user="ann", repository="good/app"):
        self.target = target
        self.source = source
        self.user = user
        self.repository = repository

    def start(self):
        ours, theirs = multiprocessing.Pipe()
        self.pipe = ours
        self.process = multiprocessing.Process(target=self.run, args=(theirs,), daemon=True)
        self.process.start()
        theirs.close()

    def stop(self):
        self.pipe.send("stop")
        results = self.pipe.recv()
        self.process.join(5)
        self.process.kill()
        return results

    def run(self, pipe):
        self.results = []
        self.under_way = {}
        self.lock = threading.Lock()
        for number in range(THREADS):
            for kind in (self.pull, self.push):
                threading.Thread(target=self.repeat, args=(kind, number), daemon=True).start()
        pipe.recv()
        now = time.monotonic()
        with self.lock:
            # An operation that has not ended takes at least this long.
            unfinished = [[kind, begun, now - begun, 0, "" if now - begun < PATIENCE else "late"] for kind, begun in self.under_way.values()]
            pipe.send(self.results + unfinished)
        os._exit(0)

    def repeat(self, operation, number):
        key = (operation.__name__, number)
        time.sleep(0.03 * number)
        while True:
            begun = time.monotonic()
            with self.lock:
                self.under_way[key] = (operation.__name__, begun)
            retries, error = 0, ""
            while True:
                connection = None
                wait = 0.2
                try:
                    connection = Connection(self.target.address, self.source, self.target.tls, self.user)
                    operation(connection, number)
                    error = ""
                    break
                except Busy as busy:
                    error, wait = f"{busy}", busy.wait
                except (OSError, Lost, ValueError) as lost:
                    error = f"{type(lost).__name__}: {lost}"
                finally:
                    if connection is not None:
                        connection.close()
                retries += 1
                if time.monotonic() + wait - begun > PATIENCE:
                    break
                time.sleep(wait)
            with self.lock:
                self.results.append([operation.__name__, begun, time.monotonic() - begun, retries, error])
                self.under_way.pop(key, None)
            time.sleep(PAUSE)

    def pull(self, connection, number):
        data = connection.request("GET", f"/v2/{self.repository}/manifests/v1", 200)
        manifest = json.loads(data)
        for blob in [manifest["config"], *manifest["layers"]]:
            data = connection.request("GET", f"/v2/{self.repository}/blobs/{blob['digest']}", 200)
            if "sha256:" + hashlib.sha256(data).hexdigest() != blob["digest"]:
                raise Lost(f"other bytes than {blob['digest']}")

    def push(self, connection, number):
        layer = os.urandom(1000)
        described = describe(layer)
        connection.request("POST", f"/v2/{self.repository}/blobs/uploads/?digest={described['digest']}", 201, layer, "application/octet-stream")
        manifest = json.dumps(
            {
                "schemaVersion": 2,
                "mediaType": MANIFEST,
                "config": describe(self.target.config, CONFIG),
                "layers": [described | {"mediaType": LAYER}],
            }
        ).encode()
        connection.request("PUT", f"/v2/{self.repository}/manifests/push-{number}", 201, manifest, MANIFEST)


def percentile(values, share):
    """The percentile in milliseconds, or None without values."""
    values = sorted(values)
    return values[min(len(values) - 1, int(len(values) * share))] * 1000 if values else None
