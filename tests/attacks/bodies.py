"""Attacks by pushed content and by request bodies of the API."""

import functools
import gzip
import json
import random
import time

from attack import as_json, attack
from swarm import Again, Script, Swarm
from target import CONFIG, INDEX, LAYER, MANIFEST, QUOTA, describe, digest_of

OCTETS = "Content-Type: application/octet-stream"
JSON = "Content-Type: application/json"
ZERO = "sha256:" + "0" * 64


def api_swarm(context, count, path, body):
    """Opens connections that send one request to the API after the other."""
    request = context.head("POST", path, JSON, length=len(body)) + body

    class Repeat(Script):
        left = 0

        def received(self, data):
            # Responses may have megabytes: the next request is sent after the complete response.
            if data.startswith(b"HTTP/1"):
                self.counts[data[9:12].decode("latin-1")] += 1
                head, _, rest = data.partition(b"\r\n\r\n")
                length = head.lower().partition(b"\r\ncontent-length:")[2].partition(b"\r\n")[0]
                self.left = int(length or 0) - len(rest)
            else:
                self.left -= len(data)
            return request if self.left <= 0 else b""

    Swarm(context, count, lambda _: Repeat(context.counts, request)).run()


def zot_import(size):
    """A zot configuration with as many patterns as fit."""
    patterns = [{"patterns": [f"p{at}.*"]} for at in range(size // 26)]
    policy = {"repositories": ["**"], "deleteUntagged": True, "keepTags": patterns}
    while len(body := as_json({"storage": {"retention": {"policies": [policy]}}})) > size:
        del patterns[-10:]
    return body


@attack("import-zot-open", quick=False, mode="open", seconds=15)
def import_zot_open(context):
    """A client without a login imports zot policies with thousands of patterns, ten at once."""
    api_swarm(context, context.share(4), "/api/v1/retention/import?from=zot", zot_import(61_000 if context.scale > 1 else 20_000))


@attack("import-zot-user", user="eve", seconds=15)
def import_zot_user(context):
    """The same by a user without a role in a closed registry."""
    api_swarm(context, context.share(4), "/api/v1/retention/import?from=zot", zot_import(61_000 if context.scale > 1 else 20_000))


@attack("import-ecr", quick=False, user="eve", is_new=True)
def import_ecr(context):
    """The same with ECR policies: many rules, each with many prefixes."""
    rules = []
    size = 0
    while size < 60_000:
        at = len(rules) + 1
        patterns = [f"p{at}-{n}*{n}*" for n in range(4)]
        selection = {"tagStatus": "tagged", "tagPatternList": patterns, "countType": "imageCountMoreThan", "countNumber": 1}
        rules.append({"rulePriority": at, "selection": selection, "action": {"type": "expire"}})
        size += len(as_json(rules[-1])) + 1
    api_swarm(context, context.share(4), "/api/v1/retention/import?from=ecr", as_json({"rules": rules}))


def policies_check(rules):
    return as_json({"name": "p", "rules": rules})


@attack("check-regexes", mode="pull-open", seconds=15)
def check_regexes(context):
    """A client without a login checks policies with hundreds of expressions that compile to megabytes."""
    rules = [
        {"name": f"r{at}", "action": "keep", "tag_regex": f"[^x]{{2000}}{at}", "newest": 1} for at in range(400)
    ]
    api_swarm(context, context.share(2), "/api/v1/retention/check", policies_check(rules))


@attack("check-globs", is_new=True, mode="pull-open")
def check_globs(context):
    """The same with globs: thousands of them, and alternatives that multiply."""
    product = "{a,b,c,d}" * 30
    rules = [{"name": f"r{at}", "action": "keep", "tags": [product + "*" * 20 + str(at)] * 4, "newest": 1} for at in range(45)]
    api_swarm(context, context.share(4), "/api/v1/retention/check", policies_check(rules))


@attack("api-half-bodies", is_new=True, mode="open", processes=2, addresses=20)
def api_half_bodies(context):
    """API request bodies of 64 kB whose last byte is never sent."""
    paths = ["/api/v1/retention/check", "/api/v1/retention/import?from=zot", "/api/v1/trash/empty", "/auth/token", "/login"]
    openings = [context.head("POST", path, JSON, length=65_000) + b" " * 64_999 for path in paths]
    Swarm(context, context.share(150), lambda number: Script(context.counts, openings[number % len(openings)])).run()


@attack("api-deep-json", quick=False, is_new=True, mode="open", addresses=4)
def api_deep_json(context):
    """JSON of 64 kB that consists of brackets, empty objects, escapes or repeated keys."""
    bodies = [
        b"[" * 65_000,
        b'{"a":' * 13_000,
        b'{"name":"p","rules":[' + b"{}," * 21_000 + b"{}]}",
        b'{"rules":[],"name":"' + b"\\u0041" * 10_000 + b'"}',
        b"{" + b'"rules":[],' * 5_800 + b'"name":"p"}',
    ]
    requests = [
        context.head("POST", "/api/v1/retention/" + path, JSON, length=len(body)) + body
        for body in bodies
        for path in ("check", "import?from=zot", "apply")
    ]
    Swarm(context, context.share(16), lambda number: Again(context.counts, requests[number % len(requests)])).run()


@attack("gzip-bodies", quick=False, is_new=True, mode="open", user="mallory", addresses=4)
def gzip_bodies(context):
    """Compressed bodies that unpack to a hundred times their size."""
    bomb = gzip.compress(b" " * 60_000_000, 9)
    requests = [
        context.head("POST", "/api/v1/retention/check", JSON, "Content-Encoding: gzip", length=len(bomb)) + bomb,
        context.head("PUT", "/v2/evil/gzip/manifests/v1", f"Content-Type: {MANIFEST}", "Content-Encoding: gzip", length=len(bomb)) + bomb,
        context.head("POST", f"/v2/evil/gzip/blobs/uploads/?digest={ZERO}", OCTETS, "Content-Encoding: gzip", length=len(bomb)) + bomb,
        context.head("GET", "/v2/pub/app/manifests/v1", "Accept-Encoding: gzip, br, zstd"),
    ]
    Swarm(context, context.share(16), lambda number: Again(context.counts, requests[number % len(requests)]), lifetime=3).run()


# Manifests.


@functools.cache
def annotated(count=330_000):
    """A manifest with as many annotations as fit in 3.56 MB."""
    inside = ",".join(f'"{at:x}":""' for at in range(count))
    config = describe(b"{}", CONFIG)
    body = f'{{"schemaVersion":2,"mediaType":"{MANIFEST}","config":{json.dumps(config)},"layers":[],"annotations":{{{inside}}}}}'
    return body.encode()[:4_190_000] if len(body) < 4_190_000 else annotated(count - 20_000)


def with_config(repository, user="mallory"):
    """Pushes the empty config that the attack's manifests refer to."""

    def prepare(target, scale):
        target.push_blob(repository, b"{}", user)

    return prepare


@attack("annotations", mode="open", user="mallory", processes=2, seconds=20, prepare=with_config("evil/notes"))
def annotations(context):
    """Manifests of 3.6 MB that consist of annotations, dozens at once."""
    body = annotated()

    def make(number):
        path = f"/v2/evil/notes/manifests/t{context.process}-{number % 50}"
        # The bytes after the document change its digest.
        head = context.head("PUT", path, f"Content-Type: {MANIFEST}", "Connection: close", length=len(body) + 10)
        return Script(context.counts, head + body + f"{number % 10**9:10d}".replace("0", " ").translate(SPACES).encode())

    Swarm(context, context.share(64), make).run()


# White space encodes digits: bodies that differ but parse alike.
SPACES = str.maketrans("123456789", " \n\t\r \n\t\r ")


@attack("manifest-shapes", is_new=True, mode="open", user="mallory", processes=2, seconds=15, prepare=with_config("evil/shapes"))
def manifest_shapes(context):
    """Manifests of 4 MB that parse into much more: empty arrays, deep nesting, unknown keys, ten thousand descriptors,
    numbers, escapes."""
    config = json.dumps(describe(b"{}", CONFIG))
    start = f'{{"schemaVersion":2,"mediaType":"{MANIFEST}","config":{config},"layers":['.encode()
    descriptor = json.dumps({"mediaType": LAYER, "digest": ZERO, "size": 1, "urls": ["a:b"] * 20}).encode()
    bodies = [
        start + b'],"x":[' + b"[]," * 1_300_000 + b"[]]}",
        start + b'],"x":' + b"[" * 1_900_000 + b"]" * 1_900_000 + b"}",
        start + b"]," + b",".join(b'"k%d":{}' % at for at in range(300_000)) + b"}",
        start + b",".join([descriptor] * (3_900_000 // (len(descriptor) + 1))) + b"]}",
        start + b'],"x":[' + b"1e9," * 900_000 + b"1]}",
        start + b'],"x":"' + b"\\u00e9" * 600_000 + b'"}',
        start.replace(b'"layers":[', b'"layers":null,') + b'"annotations":{"a":"' + b"x" * 3_900_000 + b'"}}',
        f'{{"schemaVersion":2,"mediaType":"{INDEX}","manifests":['.encode() + b",".join([descriptor] * 9_000) + b"]}",
    ]

    def make(number):
        body = bodies[number % len(bodies)]
        kind = INDEX if body.startswith(b'{"schemaVersion":2,"mediaType":"' + INDEX.encode()) else MANIFEST
        path = f"/v2/evil/shapes/manifests/t{number % 50}"
        return Script(context.counts, context.head("PUT", path, f"Content-Type: {kind}", "Connection: close", length=len(body)) + body)

    Swarm(context, context.share(16), make).run()


@attack("manifests-without-end", is_new=True, mode="open", user="mallory", processes=2, addresses=10, seconds=15)
def manifests_without_end(context):
    """Manifests of 4 MB whose last byte is never sent."""
    body = b" " * 4_190_000
    head = context.head("PUT", "/v2/evil/slow/manifests/v1", f"Content-Type: {MANIFEST}", length=len(body) + 1)
    opening = head + body
    Swarm(context, context.share(64), lambda _: Script(context.counts, opening), every=30).run()


def labelled(number, size=1_000_000):
    """A config of one megabyte of labels."""
    labels = {f"k{number}-{at}": "v" * 20 for at in range(size // 38)}
    return as_json({"architecture": "amd64", "os": "linux", "config": {"Labels": labels}})


@attack("labels-on-disk", user="mallory", seconds=15, disk=40 << 20)
def labels_on_disk(context):
    """One config with a megabyte of labels, and hundreds of small manifests that refer to it."""
    upload(context, "tight/labels", config := labelled(0))

    def request(worker, number):
        manifest = as_json({"schemaVersion": 2, "mediaType": MANIFEST, "config": describe(config, CONFIG), "layers": [], "n": f"{worker}-{number}"})
        return context.head("PUT", f"/v2/tight/labels/manifests/t{worker}-{number}", f"Content-Type: {MANIFEST}", length=len(manifest)) + manifest

    limited(context, 4, request, int(100 * context.scale))


def upload(context, repository, data):
    """Pushes a blob within an attack and reads the response."""
    with context.connect() as sock:
        sock.sendall(context.head("POST", f"/v2/{repository}/blobs/uploads/?digest={digest_of(data)}", OCTETS, length=len(data)) + data)
        context.read_answers(sock, 1)


def limited(context, workers, request, most):
    """A flood with a fixed number of requests per worker, which then waits for the end of the attack."""

    def once(worker, number):
        if number > most // workers:
            time.sleep(max(0, context.until - time.monotonic()))
            return b""
        return request(worker, number)

    context.flood(workers, once)


@attack("quota-manifests", user="mallory", seconds=15, disk=QUOTA + (40 << 20))
def quota_manifests(context):
    """Manifests of 3.9 MB under a prefix with a quota of 3 MB."""
    upload(context, "tight/many", b"{}")
    note = "x" * 3_900_000

    def request(worker, number):
        body = as_json(
            {"schemaVersion": 2, "mediaType": MANIFEST, "config": describe(b"{}", CONFIG), "layers": []}
            | {"annotations": {"note": note, "n": f"{worker}-{number}"}}
        )
        return context.head("PUT", f"/v2/tight/many/manifests/t{worker}-{number}", f"Content-Type: {MANIFEST}", length=len(body)) + body

    limited(context, 2, request, int(5 * context.scale))


@attack("quota-open-uploads", quick=False, user="mallory", seconds=15, disk=QUOTA + (40 << 20))
def quota_open_uploads(context):
    """Hundreds of uploads of 990 kB that are started under a quota of 3 MB and never finished."""
    data = b"u" * 990_000
    for _ in range(int(40 * context.scale)):
        if context.is_over():
            return
        with context.connect() as sock:
            sock.sendall(context.head("POST", "/v2/tight/open/blobs/uploads/", length=0))
            location = header(sock, "location")
        if not location:
            context.counts["no upload"] += 1
            continue
        with context.connect() as sock:
            sock.sendall(context.head("PATCH", location, OCTETS, length=len(data)))
            try:
                sock.sendall(data)
            except OSError:
                pass
            try:
                context.read_answers(sock, 1)
            except OSError:
                context.counts["lost"] += 1


def header(sock, name):
    data = b""
    while b"\r\n\r\n" not in data:
        piece = sock.recv(1 << 16)
        if not piece:
            return ""
        data += piece
    value = data.lower().partition(f"\r\n{name}:".encode())
    start = len(value[0]) + len(value[1])
    return data[start:].partition(b"\r\n")[0].strip().decode() if value[1] else ""


# Uploads.


@attack("slow-uploads", user="mallory", seconds=40)
def slow_uploads(context):
    """One user's uploads at 300 bytes per second each, more than the server accepts at once."""
    slow(context, context.share(64))


@attack("slow-uploads-many-addresses", quick=False, is_new=True, mode="open", processes=2, addresses=40, seconds=40)
def slow_uploads_many_addresses(context):
    """The same without a login, from forty addresses."""
    slow(context, context.share(64))


def slow(context, count):
    head = context.head("POST", f"/v2/evil/slow/blobs/uploads/?digest={ZERO}", OCTETS, length=1 << 30)
    Swarm(context, count, lambda _: Script(context.counts, head + b"x" * 300, b"x" * 300), every=1).run()


@attack("uploads-never-finished", quick=False, is_new=True, user="mallory", processes=2, addresses=4)
def uploads_never_finished(context):
    """Thousands of uploads and mounts that are opened and never used."""

    def request(worker, number):
        query = f"?mount=sha256:{random.getrandbits(256):064x}&from=good/app" if number % 2 else ""
        return context.head("POST", f"/v2/evil/r{number % 500}/blobs/uploads/{query}", length=0)

    context.flood(max(1, context.share(2)), request, pipelined=16)


@attack("digests-that-lie", quick=False, is_new=True, user="mallory", processes=2)
def digests_that_lie(context):
    """Repeated uploads of 8 MB with a wrong digest, also SHA-512."""
    data = b"z" * 8_000_000
    paths = [f"/v2/evil/lie/blobs/uploads/?digest={ZERO}", "/v2/evil/lie/blobs/uploads/?digest=sha512:" + "0" * 128]
    requests = [context.head("POST", path, OCTETS, "Connection: close", length=len(data)) + data for path in paths]
    Swarm(context, context.share(16), lambda number: Script(context.counts, requests[number % 2])).run()


@attack("tags-by-the-hundred", quick=False, is_new=True, mode="open", user="mallory", seconds=15, prepare=with_config("evil/tags"), disk=400 << 20)
def tags_by_the_hundred(context):
    """Pushes that set a hundred tags each, and slow reads of the tag lists."""
    body = as_json({"schemaVersion": 2, "mediaType": MANIFEST, "config": describe(b"{}", CONFIG), "layers": []})

    def request(worker, number):
        if number % 4 == 3:
            return context.head("GET", "/v2/evil/tags/tags/list?n=10000")
        tags = "&".join(f"tag=w{worker}-{number}-{at}-{'t' * 90}" for at in range(100))
        return context.head("PUT", f"/v2/evil/tags/manifests/{digest_of(body)}?{tags}", f"Content-Type: {MANIFEST}", length=len(body)) + body

    context.flood(max(2, context.share(2)), request)


@attack("tag-moves", quick=False, is_new=True, user="mallory", seconds=15, prepare=with_config("evil/moves"))
def tag_moves(context):
    """One user moves tags continuously on many connections. Other clients' pushes wait for the same writer."""

    def request(worker, number):
        body = as_json({"schemaVersion": 2, "mediaType": MANIFEST, "config": describe(b"{}", CONFIG), "layers": [], "n": f"{worker}-{number}"})
        return context.head("PUT", f"/v2/evil/moves/manifests/t{number % 7}", f"Content-Type: {MANIFEST}", length=len(body)) + body

    context.flood(max(4, context.share(6)), request, pipelined=4)


