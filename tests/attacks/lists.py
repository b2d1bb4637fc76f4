"""Attacks by reading: lists, reports, ranges, and responses that are not read."""

import http.client
import random

from attack import as_json, attack
from bodies import labelled, with_config
from swarm import Script, Swarm
from target import CONFIG, INDEX, MANIFEST, basic, describe, digest_of


def read_all(context, count, paths, fields=()):
    """Opens connections that read one complete response after the other."""
    requests = [context.head("GET", path, *fields) for path in paths]
    context.flood(count, lambda worker, number: requests[(worker + number) % len(requests)])


def read_nothing(context, count, paths, fields=()):
    """Opens connections that send a request and then read a few bytes now and then."""
    requests = [context.head("GET", path, *fields) for path in paths]

    def make(number):
        return Script(context.counts, requests[number % len(requests)])

    Swarm(context, count, make, read=False, receive_buffer=4096, every=2).run()


def many_repositories(target, scale):
    """Creates thousands of repositories that eve may not read."""
    connection = http.client.HTTPConnection(*target.address, timeout=60)
    body = as_json({"schemaVersion": 2, "mediaType": INDEX, "manifests": []})
    headers = {"Content-Type": INDEX, "Authorization": basic("admin")}
    for number in range(int(300 * scale)):
        connection.request("PUT", f"/v2/many/r{number}/manifests/v1", body, headers)
        response = connection.getresponse()
        response.read()
        if response.status != 201:
            raise RuntimeError(f"many/r{number}: {response.status}")
    connection.close()


@attack("repositories-unreadable", user="eve", prepare=many_repositories, seconds=15)
def repositories_unreadable(context):
    """A user without a role lists thousands of repositories, one entry per page, sorted and searched."""
    paths = [
        "/api/v1/repositories?limit=1&sort=pushed",
        "/api/v1/repositories?limit=1&sort=size",
        "/api/v1/repositories?limit=1&search=zzz",
        "/v2/_catalog?n=1",
    ]
    read_all(context, max(4, context.share(4)), paths)


def described_images(target, scale):
    """Pushes images with a megabyte of details: an `os`, labels, an `artifactType`."""
    for number in range(int(20 * scale)):
        kind = number % 3
        config = as_json({"architecture": "amd64", "os": f"{number}" + "o" * 1_000_000}) if kind == 0 else labelled(number)
        manifest = {"schemaVersion": 2, "mediaType": MANIFEST, "config": describe(config, CONFIG), "layers": []}
        if kind == 2:
            config = b"{}"
            manifest["config"] = describe(config, CONFIG)
            manifest["artifactType"] = f"a/{number}" + "t" * 2_000_000
        try:
            target.push_blob("evil/said", config, "mallory")
            target.push_manifest("evil/said", f"t{number}", as_json(manifest), "mallory", wanted=(201, 400, 413))
        except (RuntimeError, OSError):
            pass


@attack("tags-with-descriptions", user="mallory", prepare=described_images, seconds=15)
def tags_with_descriptions(context):
    """Lists of images with megabytes of details."""
    paths = ["/api/v1/repositories/evil%2Fsaid/tags?limit=1000", "/api/v1/repositories/evil%2Fsaid/tags?sort=pushed&limit=1000"]
    read_all(context, max(3, context.share(3)), paths)


@attack("plan-with-descriptions", user="admin", prepare=described_images, seconds=15)
def plan_with_descriptions(context):
    """Retention plans over the same images, several at once. The server itself makes one each hour."""
    read_all(context, max(2, context.share(1)), ["/api/v1/retention/plan", "/api/v1/retention/plan?repository=evil%2Fsaid"])


@attack("reports", quick=False, is_new=True, mode="pull-open", prepare=many_repositories, addresses=8)
def reports(context):
    """All expensive queries at once: usage, reasons, plans and searches."""
    paths = [
        "/api/v1/usage",
        "/api/v1/usage?scope=good/",
        "/api/v1/why?repository=pub%2Fapp&reference=v1",
        "/api/v1/retention/plan",
        "/api/v1/repositories?sort=size&search=r",
        "/api/v1/trash",
        "/metrics",
        "/v2/_catalog?n=10000",
    ]
    read_all(context, max(8, context.share(8)), paths)


@attack("lists-never-read", is_new=True, mode="pull-open", prepare=many_repositories, processes=2, addresses=20)
def lists_never_read(context):
    """The longest lists, the OpenAPI document and metrics, requested on hundreds of connections and never read."""
    paths = ["/v2/_catalog?n=10000", "/api/v1/repositories?limit=1000", "/api/v1/openapi.json", "/metrics"]
    read_nothing(context, context.share(100), paths)


def annotated_referrers(target, scale):
    """Creates referrers of one subject with megabytes of annotations."""
    target.push_blob("evil/refs", b"{}", "mallory")
    subject = as_json({"schemaVersion": 2, "mediaType": MANIFEST, "config": describe(b"{}", CONFIG), "layers": []})
    target.push_manifest("evil/refs", "subject", subject, "mallory")
    target.facts["subject"] = digest_of(subject)
    for number in range(int(4 * scale)):
        manifest = as_json(
            {"schemaVersion": 2, "mediaType": MANIFEST, "config": describe(b"{}", CONFIG), "layers": []}
            | {"subject": describe(subject, MANIFEST), "annotations": {f"a{number}": "x" * 3_500_000}, "artifactType": "a/b"}
        )
        target.push_manifest("evil/refs", digest_of(manifest), manifest, "mallory")


@attack("referrers-unread", is_new=True, user="mallory", prepare=annotated_referrers, processes=2)
def referrers_unread(context):
    """Lists of referrers with megabytes of annotations, which some connections read and others do not."""
    path = f"/v2/evil/refs/referrers/{context.facts['subject']}"
    if context.process:
        read_all(context, max(2, context.share(8)), [path])
    else:
        read_nothing(context, context.share(20), [path])



@attack("slow-readers", is_new=True, processes=2, addresses=20)
def slow_readers(context):
    """A public blob requested on hundreds of connections that read nothing."""
    read_nothing(context, context.share(90), [f"/v2/pub/big/blobs/{context.facts['big']}"])


@attack("tls-slow-readers", is_new=True, tls=True, processes=2, addresses=20)
def tls_slow_readers(context):
    """The same over TLS, where the server has to buffer the encrypted bytes."""
    read_nothing(context, context.share(90), [f"/v2/pub/big/blobs/{context.facts['big']}"])


@attack("many-ranges", is_new=True, processes=2, addresses=4)
def many_ranges(context):
    """Thousands of ranges in one request: single bytes, overlapping, backwards, the whole blob repeatedly."""
    path = f"/v2/pub/big/blobs/{context.facts['big']}"
    sets = [
        ",".join(f"{at * 4000}-{at * 4000}" for at in range(1000)),
        ",".join("0-8388607" for _ in range(1000)),
        ",".join(f"{8_000_000 - at * 3}-{8_000_100 - at * 3}" for at in range(1000)),
        ",".join("-1" for _ in range(5000)),
        ",".join(f"{random.randrange(8_000_000)}-" for _ in range(500)),
    ]
    heads = [context.head("GET", path, f"Range: bytes={ranges}") for ranges in sets]
    if context.process:
        context.flood(max(2, context.share(2)), lambda worker, number: heads[(worker + number) % len(heads)])
    else:
        Swarm(
            context, context.share(40), lambda number: Script(context.counts, heads[number % len(heads)]), read=False, receive_buffer=4096
        ).run()


@attack("pages-of-one", quick=False, is_new=True, mode="open", user="mallory", prepare=with_config("evil/paged"), addresses=4)
def pages_of_one(context):
    """Lists with one entry per page from random positions, with invalid markers and searches that match nothing."""

    def request(worker, number):
        mark = f"{random.getrandbits(64):x}"
        path = (
            f"/v2/_catalog?n=1&last={mark}",
            f"/v2/pub/app/tags/list?n=1&last={mark * 50}",
            f"/api/v1/repositories?limit=1&search={mark}%25_",
            f"/api/v1/repositories/pub%2Fapp/tags?limit=1&after={mark}",
            "/v2/pub/app/referrers/sha256:" + f"{random.getrandbits(256):064x}",
        )[number % 5]
        return context.head("GET", path)

    context.flood(max(4, context.share(3)), request, pipelined=8)
