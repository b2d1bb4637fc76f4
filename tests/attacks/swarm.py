"""Many connections of one attacker in one thread. They are kept as long as the server permits and reopened when the
server closes them."""

import collections
import errno
import select
import socket
import ssl
import time

PIECE = 1 << 16


class Script:
    """A connection that sends `opening`, then `drip` every few seconds. Responses are counted by status."""

    def __init__(self, counts, opening, drip=b""):
        self.counts = counts
        self.first = opening
        self.drip = drip
        self.has_status = False

    def opening(self):
        return self.first

    def received(self, data):
        if not self.has_status and len(data) >= 12 and data.startswith(b"HTTP/1"):
            self.has_status = True
            self.counts[data[9:12].decode("latin-1")] += 1
        return b""

    def tick(self):
        return self.drip() if callable(self.drip) else self.drip


class Again(Script):
    """Repeats a request on its connection as soon as a response arrives. For responses that fit in one read."""

    def received(self, data):
        if data.startswith(b"HTTP/1"):
            self.counts[data[9:12].decode("latin-1")] += 1
            return self.drip() if callable(self.drip) else self.first
        return b""


class Link:
    """A socket of the swarm with its unsent bytes."""

    def __init__(self, sock, protocol, now):
        self.socket = sock
        self.protocol = protocol
        self.waiting = collections.deque()
        self.is_connected = False
        self.is_secure = False
        self.opened_at = now
        self.ticked_at = now

    def send(self, data):
        if data:
            self.waiting.append(memoryview(data))


class Swarm:
    """Runs many connections. `make(number)` returns the protocol of connection `number`: opening(), received(data) and
    tick() return bytes to send."""

    def __init__(self, context, count, make, every=5.0, read=True, receive_buffer=None, tls=None, lifetime=None, rate=2000):
        self.context = context
        self.count = count
        self.make = make
        self.every = every
        self.read = read
        self.receive_buffer = receive_buffer
        self.tls = context.tls if tls is None else tls
        self.lifetime = lifetime
        self.rate = rate
        self.epoll = select.epoll()
        self.links = {}
        self.numbers = 0
        self.counts = context.counts

    def run(self):
        last, allowed = time.monotonic(), 0.0
        try:
            while (now := time.monotonic()) < self.context.until:
                allowed = min(allowed + (now - last) * self.rate, self.rate / 4 + 1)
                last = now
                while len(self.links) < self.count and allowed >= 1:
                    allowed -= 1
                    if not self.connect(now):
                        break
                for descriptor, events in self.epoll.poll(0.05, 512):
                    link = self.links.get(descriptor)
                    if link is not None and not self.handle(link, events):
                        self.close(link)
                self.tick(time.monotonic())
        finally:
            for link in list(self.links.values()):
                self.close(link)
            self.epoll.close()

    def connect(self, now):
        sock = socket.socket()
        try:
            sock.setblocking(False)
            if self.receive_buffer:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, self.receive_buffer)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.setsockopt(socket.IPPROTO_IP, 24, 1)  # IP_BIND_ADDRESS_NO_PORT
            sock.bind((self.context.source(self.numbers), 0))
            code = sock.connect_ex(self.context.address)
        except OSError:
            sock.close()
            self.counts["no socket"] += 1
            return False
        if code not in (0, errno.EINPROGRESS):
            sock.close()
            self.counts["no connection"] += 1
            return False
        link = Link(sock, self.make(self.numbers), now)
        self.numbers += 1
        self.links[sock.fileno()] = link
        self.epoll.register(sock.fileno(), select.EPOLLOUT | select.EPOLLRDHUP)
        return True

    def handle(self, link, events):
        try:
            if not link.is_connected and not self.begin(link):
                return True
            if events & select.EPOLLIN and self.read:
                while True:
                    data = link.socket.recv(PIECE)
                    if not data:
                        self.counts["closed"] += 1
                        return False
                    link.send(link.protocol.received(data))
                    if len(data) < PIECE:
                        break
            elif events & (select.EPOLLRDHUP | select.EPOLLHUP | select.EPOLLERR):
                self.counts["closed"] += 1
                return False
            self.flush(link)
        except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            self.watch(link)
        except OSError:
            self.counts["lost"] += 1
            return False
        return True

    def begin(self, link):
        """Finishes connecting. Returns False while the handshake is in progress."""
        if (code := link.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)) != 0:
            raise OSError(code, "connect")
        if self.tls and not link.is_secure:
            if not isinstance(link.socket, ssl.SSLSocket):
                descriptor = link.socket.fileno()
                link.socket = self.context.ssl_context().wrap_socket(link.socket, do_handshake_on_connect=False)
                assert link.socket.fileno() == descriptor
            try:
                link.socket.do_handshake()
            except ssl.SSLWantReadError:
                self.epoll.modify(link.socket.fileno(), select.EPOLLIN | select.EPOLLRDHUP)
                return False
            link.is_secure = True
        link.is_connected = True
        self.counts["connections"] += 1
        link.send(link.protocol.opening())
        return True

    def flush(self, link):
        while link.waiting:
            piece = link.waiting[0][:PIECE]
            sent = link.socket.send(piece)
            self.counts["bytes sent"] += sent
            if sent == len(link.waiting[0]):
                link.waiting.popleft()
            else:
                link.waiting[0] = link.waiting[0][sent:]
        self.watch(link)

    def watch(self, link):
        events = select.EPOLLRDHUP | (select.EPOLLIN if self.read else 0) | (select.EPOLLOUT if link.waiting else 0)
        self.epoll.modify(link.socket.fileno(), events)

    def tick(self, now):
        for link in list(self.links.values()):
            if self.lifetime and now - link.opened_at > self.lifetime:
                self.close(link)
            elif link.is_connected and now - link.ticked_at > self.every:
                link.ticked_at = now
                if not link.waiting:
                    link.send(link.protocol.tick())
                    if not self.handle(link, 0):
                        self.close(link)

    def close(self, link):
        descriptor = link.socket.fileno()
        if self.links.pop(descriptor, None) is not None:
            try:
                self.epoll.unregister(descriptor)
            except OSError:
                pass
            link.socket.close()
