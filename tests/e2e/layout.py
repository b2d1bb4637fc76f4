#!/usr/bin/env python3
"""layout.py DIR [BYTES...]: writes an OCI image layout of random content for clients to push, because no
image can be downloaded: `one`, an image of three layers for amd64, and `multi`, an index of images for amd64
and arm64 that share a layer. With sizes it writes only `one`, with layers of these sizes."""

import gzip
import hashlib
import io
import json
import os
import sys
import tarfile

IMAGE = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"


class Layout:
    def __init__(self, folder):
        self.folder = folder
        self.names = []
        os.makedirs(os.path.join(folder, "blobs", "sha256"))
        with open(os.path.join(folder, "oci-layout"), "w") as file:
            json.dump({"imageLayoutVersion": "1.0.0"}, file)

    def add(self, media_type, data, **more):
        digest = hashlib.sha256(data).hexdigest()
        with open(os.path.join(self.folder, "blobs", "sha256", digest), "wb") as file:
            file.write(data)
        return {"mediaType": media_type, "digest": "sha256:" + digest, "size": len(data), **more}

    def add_json(self, media_type, value, **more):
        return self.add(media_type, json.dumps(value).encode(), **more)

    def layer(self, name, size):
        """Adds a layer with one file of random bytes. Returns its descriptor and its uncompressed digest."""
        plain = io.BytesIO()
        with tarfile.open(fileobj=plain, mode="w") as tar:
            entry = tarfile.TarInfo(name)
            entry.size = size
            tar.addfile(entry, io.BytesIO(os.urandom(size)))
        plain = plain.getvalue()
        diff = "sha256:" + hashlib.sha256(plain).hexdigest()
        return self.add(LAYER, gzip.compress(plain, 1)), diff

    def image(self, architecture, layers):
        config = self.add_json(
            CONFIG,
            {
                "architecture": architecture,
                "os": "linux",
                "config": {"Env": ["PATH=/bin"], "Labels": {"for": architecture}},
                "rootfs": {"type": "layers", "diff_ids": [diff for _, diff in layers]},
                "history": [{"created_by": "layout.py"} for _ in layers],
            },
        )
        return self.add_json(
            IMAGE,
            {
                "schemaVersion": 2,
                "mediaType": IMAGE,
                "config": config,
                "layers": [descriptor for descriptor, _ in layers],
            },
            platform={"architecture": architecture, "os": "linux"},
        )

    def name(self, name, descriptor):
        annotations = {"org.opencontainers.image.ref.name": name}
        self.names.append({**descriptor, "annotations": annotations})

    def close(self):
        with open(os.path.join(self.folder, "index.json"), "w") as file:
            json.dump({"schemaVersion": 2, "mediaType": INDEX, "manifests": self.names}, file)


def main():
    layout = Layout(sys.argv[1])
    if sizes := sys.argv[2:]:
        layers = [layout.layer(f"layer-{at}", int(size)) for at, size in enumerate(sizes)]
        layout.name("one", layout.image("amd64", layers))
        layout.close()
        return
    shared = layout.layer("shared", 300_000)
    amd64 = layout.image(
        "amd64", [shared, layout.layer("amd64", 2_000_000), layout.layer("empty", 0)]
    )
    arm64 = layout.image("arm64", [shared, layout.layer("arm64", 1_000_000)])
    layout.name("one", amd64)
    layout.name(
        "multi",
        layout.add_json(
            INDEX, {"schemaVersion": 2, "mediaType": INDEX, "manifests": [amd64, arm64]}
        ),
    )
    layout.close()


if __name__ == "__main__":
    main()
