"""A minimal registry client with access to every status, header and byte. The long runs (kill9.py, soak.py) use it
to push, resume, pull and check."""

import hashlib
import http.client
import json
import os
import random
import re

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar"
PIECE = 256 * 1024

# Debian's registry, on which these runs can be tried too, loses uploads that it has acknowledged.
FORGETFUL = os.environ.get("E2E_SERVER") == "docker-registry"

# The errors that a client gets from a killed server.
LOST = (ConnectionError, TimeoutError, http.client.HTTPException, OSError)


class Wrong(Exception):
    """The server broke a rule."""


def digest_of(data):
    return "sha256:" + hashlib.sha256(data).hexdigest()


def describe(data, media_type, **more):
    return {"mediaType": media_type, "digest": digest_of(data), "size": len(data), **more}


class Answer:
    def __init__(self, response, body):
        self.status = response.status
        self.headers = response.headers
        self.body = body

    def __str__(self):
        return f"{self.status} {self.body[:300]!r}"


class Client:
    """One kept-alive connection. `gate` is called before each request and may block."""

    def __init__(self, address, gate=lambda: None, timeout=30):
        self.address = address
        self.gate = gate
        self.timeout = timeout
        self.connection = None

    def request(self, method, path, body=None, headers=None, want=()):
        self.gate()
        fresh = self.connection is None
        try:
            return self.once(method, path, body, headers, want)
        except LOST:
            self.close()
            # A kept-alive connection may have been closed while it was idle.
            if fresh or method not in ("GET", "HEAD"):
                raise
        try:
            return self.once(method, path, body, headers, want)
        except LOST:
            self.close()
            raise

    def once(self, method, path, body, headers, want):
        if self.connection is None:
            self.connection = http.client.HTTPConnection(self.address, timeout=self.timeout)
        chunked = body is not None and not isinstance(body, (bytes, memoryview))
        headers = dict(headers or {})
        if chunked:
            headers["Transfer-Encoding"] = "chunked"
        try:
            self.connection.request(method, path, body, headers, encode_chunked=chunked)
        except ConnectionError:
            # The server closed the connection before the whole body was sent, but may have sent a response.
            if body is None:
                raise
        response = self.connection.getresponse()
        answer = Answer(response, response.read())
        if response.will_close:
            self.close()
        if want and answer.status not in want:
            raise Wrong(f"{method} {path}: {answer}, not one of {want}")
        return answer

    def close(self):
        if self.connection is not None:
            self.connection.close()
            self.connection = None

    # Requests.

    def has_blob(self, repo, digest):
        return self.request("HEAD", f"/v2/{repo}/blobs/{digest}", want=(200, 404)).status == 200

    def mount(self, repo, digest, source):
        """Returns True if the blob was mounted. Cancels an upload that was opened instead."""
        answer = self.request(
            "POST",
            f"/v2/{repo}/blobs/uploads/?mount={digest}&from={source}",
            want=(201, 202),
        )
        if answer.status == 202:
            self.request("DELETE", path_of(answer), want=(204,))
        return answer.status == 201

    def put_manifest(self, repo, reference, data, media_type=MANIFEST, want=(201,)):
        return self.request(
            "PUT",
            f"/v2/{repo}/manifests/{reference}",
            data,
            {"Content-Type": media_type},
            want=want,
        )

    def manifest(self, repo, reference, want=(200,)):
        return self.request(
            "GET",
            f"/v2/{repo}/manifests/{reference}",
            headers={"Accept": f"{MANIFEST}, {INDEX}"},
            want=want,
        )

    def delete(self, repo, kind, reference, want=(202,)):
        return self.request("DELETE", f"/v2/{repo}/{kind}/{reference}", want=want)

    def pull(self, repo, reference, digest):
        """Pulls everything the manifest refers to and checks every digest."""
        answer = self.manifest(repo, reference)
        if digest_of(answer.body) != digest:
            raise Wrong(f"{repo}:{reference} is {digest_of(answer.body)}, not {digest}")
        if answer.headers["Docker-Content-Digest"] != digest:
            raise Wrong(f"{repo}:{reference}: {answer.headers['Docker-Content-Digest']}")
        manifest = json.loads(answer.body)
        for child in manifest.get("manifests", ()):
            self.pull(repo, child["digest"], child["digest"])
        for blob in [*manifest.get("layers", ()), *filter(None, [manifest.get("config")])]:
            got = self.request("GET", f"/v2/{repo}/blobs/{blob['digest']}", want=(200,))
            if digest_of(got.body) != blob["digest"]:
                raise Wrong(f"{repo}: {blob['digest']} has other bytes")


def path_of(answer):
    location = answer.headers["Location"]
    return re.sub(r"^https?://[^/]*", "", location)


class Upload:
    """The upload of one blob, in one of the ways that clients use. It can be resumed after the server was killed."""

    def __init__(self, client, repo, data, rng=random):
        self.client = client
        self.repo = repo
        self.data = memoryview(data)
        self.digest = digest_of(data)
        self.way = rng.choice(["whole", "one", "stream", "stream", "chunks", "chunks"])
        self.location = None
        self.offset = 0
        self.closing = False
        self.resumed = 0
        self.restarted = 0

    def run(self):
        """Sends the missing bytes. Raises one of LOST if the connection breaks."""
        if self.location is not None:
            self.ask()
        if self.location == "done":
            return
        if self.way == "whole":
            path = f"/v2/{self.repo}/blobs/uploads/?digest={self.digest}"
            answer = self.client.request("POST", path, self.data, want=(201, 202))
            if answer.status == 201:
                return
            # A registry may open an upload instead (Debian's does).
            self.way = "one"
            self.location = path_of(answer)
        if self.location is None:
            answer = self.client.request("POST", f"/v2/{self.repo}/blobs/uploads/", want=(202,))
            self.location = path_of(answer)
            self.offset = 0
            self.closing = False
        if self.way == "stream" and self.offset < len(self.data):
            pieces = (
                self.data[at : at + PIECE] for at in range(self.offset, len(self.data), PIECE)
            )
            self.location = path_of(
                self.client.request("PATCH", self.location, pieces, want=(202,))
            )
            self.offset = len(self.data)
        while self.way == "chunks" and len(self.data) - self.offset > PIECE:
            end = self.offset + PIECE
            headers = {
                "Content-Range": f"{self.offset}-{end - 1}",
                "Content-Type": "application/octet-stream",
            }
            self.location = path_of(
                self.client.request(
                    "PATCH", self.location, self.data[self.offset : end], headers, want=(202,)
                )
            )
            self.offset = end
        self.closing = True
        answer = self.client.request(
            "PUT",
            self.location + ("&" if "?" in self.location else "?") + f"digest={self.digest}",
            self.data[self.offset :],
            want=(201,),
        )
        if answer.headers["Docker-Content-Digest"] != self.digest:
            raise Wrong(f"upload of {self.digest}: {answer.headers['Docker-Content-Digest']}")

    def ask(self):
        """Requests the offset of the upload and continues from it."""
        answer = self.client.request("GET", self.location, want=(204, 404))
        if answer.status == 204:
            self.location = path_of(answer)
            last = int(answer.headers["Range"].split("-")[1])
            # An empty upload and one byte look the same. No upload here ends after its first byte.
            self.offset = last + 1 if last else 0
            if self.offset > len(self.data):
                raise Wrong(f"{self.location} has {self.offset} of {len(self.data)} bytes")
            self.resumed += 1
        elif not self.closing and not FORGETFUL:
            raise Wrong(f"an acknowledged upload (202) is gone: {self.location}")
        elif self.client.has_blob(self.repo, self.digest):
            self.location = "done"
        else:
            self.location = None
            self.restarted += 1
