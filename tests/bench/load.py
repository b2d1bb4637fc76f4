"""The content that the measures push: single requests from here, and loads by benches/load."""

import hashlib
import json
import os
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "e2e"))

from client import CONFIG, LAYER, MANIFEST, Client, Upload, describe, path_of  # noqa: E402

LOAD = None


def build(work):
    """Compiles the load generator, which needs only the standard library."""
    global LOAD
    here = os.path.dirname(os.path.abspath(__file__))
    source = os.path.join(here, "..", "..", "benches", "load", "main.rs")
    LOAD = os.path.join(work, "load")
    subprocess.run(["rustc", "--edition", "2024", "-O", "-o", LOAD, source], check=True)


def run(mode, address, **options):
    """Runs the load generator and returns its report."""
    command = [LOAD, mode, address]
    for name, value in options.items():
        command += [f"--{name}", str(value)]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if done.returncode != 0:
        raise SystemExit(f"{' '.join(command)}: {done.stderr}")
    return json.loads(done.stdout)


def push_blob(address, repo, data):
    client = Client(address)
    upload = Upload(client, repo, data)
    upload.way = "one"
    upload.run()
    client.close()
    return upload.digest


def push_image(address, repo, tag):
    """Pushes a manifest of an ordinary size with its blobs. Returns its content."""
    layers = [os.urandom(100) for _ in range(8)]
    for data in [b"{}", *layers]:
        push_blob(address, repo, data)
    manifest = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": describe(b"{}", CONFIG),
        "layers": [describe(data, LAYER) for data in layers],
    }
    data = json.dumps(manifest).encode()
    client = Client(address)
    client.put_manifest(repo, tag, data)
    client.close()
    return data


def pieces(path):
    with open(path, "rb") as file:
        while piece := file.read(1 << 20):
            yield piece


def random_file(path, size):
    """Writes a file of random bytes. Returns its digest."""
    sha = hashlib.sha256()
    with open(path, "wb") as file:
        for _ in range(size >> 20):
            piece = os.urandom(1 << 20)
            sha.update(piece)
            file.write(piece)
    return "sha256:" + sha.hexdigest()


def push_file(address, repo, path, digest):
    client = Client(address, timeout=600)
    upload = path_of(client.request("POST", f"/v2/{repo}/blobs/uploads/", want=(202,)))
    upload = path_of(client.request("PATCH", upload, pieces(path), want=(202,)))
    separator = "&" if "?" in upload else "?"
    client.request("PUT", f"{upload}{separator}digest={digest}", b"", want=(201,))
    client.close()
