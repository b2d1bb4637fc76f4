"""Defines attacks and the context in which they run."""

import collections
import dataclasses
import json
import multiprocessing
import os
import resource
import socket
import threading
import time
import traceback
import typing

from target import basic, ssl_context

ATTACKS = {}


@dataclasses.dataclass
class Attack:
    """An attack. `scale` 1 is the size that was found to cause harm; a full run is ten times harder."""

    name: str
    about: str
    run: typing.Callable
    is_new: bool = False
    mode: str = "closed"
    user: str | None = None
    tls: bool = False
    processes: int = 1
    addresses: int = 1
    seconds: float = 12
    # The bytes by which the disk may grow. None if the attack is not about the disk.
    disk: int | None = None
    prepare: typing.Callable | None = None
    # Whether a quick run includes it. False if another attack tests the same limit.
    quick: bool = True
    number: int = 0


def attack(name, **options):
    def register(function):
        about = " ".join(function.__doc__.split())
        ATTACKS[name] = Attack(name, about, function, number=len(ATTACKS), **options)
        return function

    return register


class Context:
    """One process of a running attack."""

    def __init__(self, target, attack, scale, seconds, process=0, user=None):
        self.address = target.address
        self.host = f"127.0.0.1:{target.port}"
        self.tls = target.tls
        self.scheme = "https" if target.tls else "http"
        self.facts = target.facts
        self.attack = attack
        self.scale = scale
        self.process = process
        self.user = user
        self.until = time.monotonic() + seconds
        self.counts = collections.Counter()

    def share(self, count):
        """This process's part of `count`, multiplied by the scale of the run."""
        count = int(count * self.scale)
        parts = self.attack.processes
        return count // parts + (1 if self.process < count % parts else 0)

    def source(self, number):
        """The source address of connection `number`: 127.100.0.0/16 and following, one network per attack."""
        host = (number * self.attack.processes + self.process) % self.attack.addresses
        return f"127.{100 + self.attack.number}.{host // 250}.{1 + host % 250}"

    def ssl_context(self, protocols=None):
        return ssl_context(protocols)

    @property
    def authorization(self):
        return f"Authorization: {basic(self.user)}\r\n" if self.user else ""

    @property
    def fields(self):
        """The same as HTTP/2 header fields."""
        return [("authorization", basic(self.user))] if self.user else []

    def head(self, method, path, *fields, length=None):
        """The head of an HTTP/1.1 request."""
        lines = [f"{method} {path} HTTP/1.1", f"Host: {self.host}", *fields]
        if length is not None:
            lines.append(f"Content-Length: {length}")
        return ("\r\n".join(lines) + "\r\n" + self.authorization + "\r\n").encode()

    def is_over(self):
        return time.monotonic() >= self.until

    def connect(self, number=0, protocols=None):
        """Opens a blocking connection."""
        sock = socket.create_connection(self.address, 10, (self.source(number), 0))
        sock.settimeout(30)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return self.ssl_context(protocols).wrap_socket(sock) if self.tls else sock

    def flood(self, workers, request, pipelined=1):
        """Runs workers that send requests one after the other, or several at once, and read the responses.
        `request(worker, number)` returns a request."""

        def work(worker):
            number = 0
            while not self.is_over():
                try:
                    with self.connect(worker) as sock:
                        while not self.is_over():
                            batch = b"".join(request(worker, number + at) for at in range(pipelined))
                            number += pipelined
                            sock.sendall(batch)
                            if not self.read_answers(sock, pipelined):
                                break
                except OSError as error:
                    self.counts[type(error).__name__] += 1
                    time.sleep(0.05)

        threads = [threading.Thread(target=work, args=(worker,), daemon=True) for worker in range(workers)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(max(0, self.until + 1 - time.monotonic()))

    def read_answers(self, sock, wanted):
        """Reads `wanted` responses. Returns False if the connection ends."""
        data = bytearray()
        while wanted:
            end = data.find(b"\r\n\r\n")
            if end < 0:
                piece = sock.recv(1 << 16)
                if not piece:
                    return False
                data += piece
                continue
            head = bytes(data[:end]).lower()
            self.counts[head[9:12].decode("latin-1")] += 1
            wanted -= 1
            length = head.partition(b"\r\ncontent-length:")[2].partition(b"\r\n")[0]
            if not length and head[9:12] not in (b"204", b"304"):
                return False
            left = end + 4 + int(length or 0) - len(data)
            if left <= 0:
                del data[: len(data) + left]
                continue
            while left > 0:
                piece = sock.recv(min(left, 1 << 16))
                if not piece:
                    return False
                left -= len(piece)
            data.clear()
            if b"connection: close" in head:
                return False
        return True


class Running:
    """A running attack, in processes of the lowest priority."""

    def __init__(self, target, attack, scale, seconds):
        self.pipes = []
        self.processes = []
        for number in range(attack.processes):
            ours, theirs = multiprocessing.Pipe(duplex=False)
            user = None if target.mode == "open" else attack.user
            context = Context(target, attack, scale, seconds, number, user)
            process = multiprocessing.Process(target=self.run, args=(attack, context, theirs), daemon=True)
            process.start()
            theirs.close()
            self.pipes.append(ours)
            self.processes.append(process)

    @staticmethod
    def run(attack, context, pipe):
        os.nice(19)
        most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
        try:
            attack.run(context)
        except Exception:  # noqa: BLE001 a failing attack must be reported and not end the run
            context.counts["failed: " + traceback.format_exc(limit=-2).replace("\n", " ")] += 1
        pipe.send(dict(context.counts))
        os._exit(0)

    def wait(self, seconds):
        """Waits until the attack is over and returns its results."""
        counts = collections.Counter()
        end = time.monotonic() + seconds
        for pipe in self.pipes:
            if pipe.poll(max(0, end - time.monotonic())):
                try:
                    counts.update(pipe.recv())
                except EOFError:
                    counts["died"] += 1
            else:
                counts["ended by the run"] += 1
        for process in self.processes:
            process.kill()
            process.join()
        return counts


def as_json(value):
    return json.dumps(value, separators=(",", ":")).encode()
