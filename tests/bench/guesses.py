#!/usr/bin/env python3
"""guesses.py ADDR --from ADDRESS[,ADDRESS...] --rate N --seconds S: guesses the password of ann, with a different one each time,
and prints the result as one line of JSON. It uses one thread and little Python code, because it runs during the
measurement."""

import argparse
import base64
import collections
import json
import os
import selectors
import socket
import time

# The maximum number of concurrent guesses, from all addresses together.
MOST = 256


class Guesser:
    def __init__(self, server, sources):
        host, _, port = server.rpartition(":")
        self.server = (host, int(port))
        self.sources = sources
        self.idle = collections.defaultdict(list)
        self.under_way = {}
        self.ready = selectors.EpollSelector()
        self.statuses = collections.Counter()
        self.took = []
        self.slowed_after = None
        self.begun = time.perf_counter()

    def connect(self, source):
        connection = socket.create_connection(self.server, source_address=(source, 0))
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.ready.register(connection, selectors.EVENT_READ, source)
        return connection

    def guess(self, number):
        if len(self.under_way) >= MOST:
            self.statuses["left out"] += 1
            return
        source = self.sources[number % len(self.sources)]
        idle = self.idle[source]
        connection = idle.pop() if idle else self.connect(source)
        shown = base64.b64encode(f"ann:{number}-{os.getpid()}".encode()).decode()
        connection.sendall(f"GET /v2/ HTTP/1.1\r\nHost: x\r\nAuthorization: Basic {shown}\r\n\r\n".encode())
        self.under_way[connection] = (time.perf_counter(), b"")

    def hear(self, timeout):
        for key, _ in self.ready.select(timeout):
            connection, source = key.fileobj, key.data
            data = connection.recv(1 << 16)
            since, before = self.under_way.pop(connection, (None, b""))
            if not data:
                self.ready.unregister(connection)
                connection.close()
                if since is None:
                    self.idle[source].remove(connection)
                else:
                    self.statuses["closed"] += 1
                continue
            answer = before + data
            if not whole(answer):
                self.under_way[connection] = (since, answer)
                continue
            now, status = time.perf_counter(), answer[9:12].decode()
            self.statuses[status] += 1
            self.took.append(now - since)
            if status == "429" and self.slowed_after is None:
                self.slowed_after = now - self.begun
            self.idle[source].append(connection)

    def run(self, rate, seconds):
        self.begun = time.perf_counter()
        for number in range(int(rate * seconds)):
            due = self.begun + number / rate
            while (left := due - time.perf_counter()) > 0:
                self.hear(left)
            self.guess(number)
        # Running guesses have some time to be answered.
        end = time.perf_counter() + 30
        while self.under_way and time.perf_counter() < end:
            self.hear(0.1)


def whole(answer):
    head, end, body = answer.partition(b"\r\n\r\n")
    length = head.lower().partition(b"\r\ncontent-length: ")[2].partition(b"\r\n")[0]
    return bool(end) and len(body) >= int(length or 0)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("server")
    parser.add_argument("--from", dest="sources", required=True)
    parser.add_argument("--rate", type=float, required=True)
    parser.add_argument("--seconds", type=float, required=True)
    options = parser.parse_args()
    guesser = Guesser(options.server, options.sources.split(","))
    guesser.run(options.rate, options.seconds)
    took = sorted(guesser.took)
    print(
        json.dumps(
            {
                "answers": guesser.statuses,
                "slowed_after_s": guesser.slowed_after,
                "p50_ms": took[len(took) // 2] * 1000,
                "max_ms": took[-1] * 1000,
            }
        )
    )


if __name__ == "__main__":
    main()
