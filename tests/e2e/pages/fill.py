#!/usr/bin/env python3
"""fill.py URL [USER:PASSWORD]: pushes what people push, so that the pages have something to show: images with versions,
an index with attestations, signatures and SBOMs, a Helm chart, a model, a WASM module, policies, and an image whose
every text is hostile."""

import base64
import hashlib
import http.client
import json
import random
import sys
from urllib.parse import urlsplit

OCI = "application/vnd.oci.image."
MANIFEST, INDEX, CONFIG = OCI + "manifest.v1+json", OCI + "index.v1+json", OCI + "config.v1+json"
LAYER = OCI + "layer.v1.tar+gzip"
EMPTY = "application/vnd.oci.empty.v1+json"
HOSTILE = "<script>document.title='owned'</script><img src=x onerror=alert(1)>\"'&{{7*7}}"


class Registry:
    def __init__(self, url, login):
        parts = urlsplit(url)
        kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        self.connection = kind(parts.netloc, timeout=60)
        self.headers = {}
        self.pushed = set()
        if login:
            self.headers["Authorization"] = "Basic " + base64.b64encode(login.encode()).decode()

    def request(self, method, path, body=b"", **headers):
        self.connection.request(method, path, body, {**self.headers, **headers})
        answer = self.connection.getresponse()
        text = answer.read()
        if answer.status not in (200, 201, 202):
            sys.exit(f"{method} {path}: {answer.status} {text.decode(errors='replace')}")
        return answer

    def blob(self, repository, data, media_type, **more):
        digest = "sha256:" + hashlib.sha256(data).hexdigest()
        if (repository, digest) not in self.pushed:
            self.request("POST", f"/v2/{repository}/blobs/uploads/?digest={digest}", data)
            self.pushed.add((repository, digest))
        return {"mediaType": media_type, "digest": digest, "size": len(data), **more}

    def manifest(self, repository, value, tag=None):
        data = json.dumps(value).encode()
        digest = "sha256:" + hashlib.sha256(data).hexdigest()
        headers = {"Content-Type": value["mediaType"]}
        self.request("PUT", f"/v2/{repository}/manifests/{tag or digest}", data, **headers)
        return {"mediaType": value["mediaType"], "digest": digest, "size": len(data)}

    def image(self, repository, layers, tag=None, architecture="amd64", **config):
        """Pushes an image of `layers`: pairs of bytes and the command that made them; None for no bytes."""
        descriptors = [self.blob(repository, data, LAYER) for data, _ in layers if data is not None]
        history = [
            {"created": "2026-11-01T10:00:00Z", "created_by": command, **({} if data else {"empty_layer": True})}
            for data, command in layers
        ]
        text = {
            "created": "2026-11-01T10:00:00Z",
            "architecture": architecture,
            "os": "linux",
            "config": config,
            "rootfs": {"type": "layers", "diff_ids": [layer["digest"] for layer in descriptors]},
            "history": history,
        }
        config = self.blob(repository, json.dumps(text).encode(), CONFIG)
        return self.manifest(repository, manifest(config, descriptors), tag)

    def artifact(self, repository, artifact_type, files, tag=None, config=None, subject=None, annotations=None):
        """Pushes files, each of them a name, bytes and a media type."""
        layers = [
            self.blob(repository, data, media_type, annotations={"org.opencontainers.image.title": name})
            for name, data, media_type in files
        ]
        config = config or self.blob(repository, b"{}", EMPTY)
        value = manifest(config, layers)
        value.update({"artifactType": artifact_type} if artifact_type else {})
        value.update({"subject": subject} if subject else {})
        value.update({"annotations": annotations} if annotations else {})
        return self.manifest(repository, value, tag)


def manifest(config, layers):
    return {"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": layers}


def content(seed, size):
    return random.Random(seed).randbytes(size)


def fill(registry):
    debian = content("debian", 3_000_000)
    base = (debian, "/bin/sh -c #(nop) ADD file:4b1be1de1a1e5aa608c688cad2824587262081866180d7368feb79d33ca05953 in / ")

    for number, version in enumerate(["1.9.0", "1.10.0", "1.27.3", "1.27.4"]):
        members = []
        for architecture in ["amd64", "arm64"]:
            layers = [
                base,
                (None, "ENV NGINX_VERSION=" + version),
                (
                    content(version + architecture, 800_000 + number * 50_000),
                    "RUN /bin/sh -c set -x && groupadd --system --gid 101 nginx && useradd --system --gid nginx "
                    "--no-create-home --home /nonexistent --comment \"nginx user\" --shell /bin/false --uid 101 nginx "
                    "&& apt-get update && apt-get install --no-install-recommends -y nginx=${NGINX_VERSION} # buildkit",
                ),
                (content("entry", 1_200), "COPY docker-entrypoint.sh / # buildkit"),
                (None, 'ENTRYPOINT ["/docker-entrypoint.sh"]'),
            ]
            image = registry.image(
                "library/nginx",
                layers,
                architecture=architecture,
                Env=["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin", "NGINX_VERSION=" + version],
                Entrypoint=["/docker-entrypoint.sh"],
                Cmd=["nginx", "-g", "daemon off;"],
                ExposedPorts={"80/tcp": {}},
                Labels={"maintainer": "NGINX Docker Maintainers", "org.opencontainers.image.version": version},
                StopSignal="SIGQUIT",
            )
            members.append({**image, "platform": {"os": "linux", "architecture": architecture}})
            attestation = registry.artifact(
                "library/nginx",
                None,
                [("provenance.json", content("prov" + version + architecture, 900), "application/vnd.in-toto+json")],
                config=registry.blob("library/nginx", b'{"architecture":"unknown","os":"unknown"}', CONFIG),
            )
            notes = {
                "vnd.docker.reference.type": "attestation-manifest",
                "vnd.docker.reference.digest": image["digest"],
            }
            unknown = {"os": "unknown", "architecture": "unknown"}
            members.append({**attestation, "platform": unknown, "annotations": notes})
        index = {"schemaVersion": 2, "mediaType": INDEX, "manifests": members}
        pushed = registry.manifest("library/nginx", index, version)
        if version == "1.27.4":
            registry.manifest("library/nginx", index, "latest")
            registry.manifest("library/nginx", index, "stable")
            sign(registry, "library/nginx", pushed)

    for version in range(30):
        layers = [base, (content("deps", 2_000_000), "RUN npm ci"), (content(f"api{version}", 90_000), "COPY . .")]
        registry.image("team/backend/api", layers, f"v1.{version}.0", Cmd=["node", "server.js"], User="node")
    registry.image("team/backend/api", layers, "main", Cmd=["node", "server.js"], User="node")
    registry.image("team/backend/worker", [base, (content("worker", 400_000), "COPY worker /")], "latest")
    registry.image("team/backend/worker", [base, (content("worker2", 500_000), "COPY worker /")])
    registry.image("team/frontend/web", [(content("web", 6_000_000), "COPY dist /usr/share/nginx/html")], "2026.11.1")
    registry.image("tools/ci", [(content("ci", 9_000_000), "bazel build ...")], "latest")

    chart = json.dumps({"name": "app", "version": "1.2.3", "description": "A chart", "apiVersion": "v2"}).encode()
    helm = "application/vnd.cncf.helm."
    registry.artifact(
        "charts/app",
        None,
        [("app-1.2.3.tgz", content("chart", 12_000), helm + "chart.content.v1.tar+gzip")],
        "1.2.3",
        config=registry.blob("charts/app", chart, helm + "config.v1+json"),
    )
    registry.artifact(
        "models/tiny",
        "application/vnd.cncf.model.manifest.v1+json",
        [("weights.safetensors", content("weights", 4_000_000), "application/vnd.cncf.model.weight.v1.raw")],
        "q4",
    )
    registry.artifact(
        "wasm/filter",
        None,
        [("filter.wasm", content("wasm", 50_000), "application/wasm")],
        "v1",
        config=registry.blob("wasm/filter", b"{\"os\":\"wasip1\"}", "application/vnd.wasm.config.v0+json"),
    )
    registry.artifact(
        "policies/opa",
        None,
        [("bundle.tar.gz", content("opa", 9_000), "application/vnd.opa.layer.v1.tar+gzip")],
        "main",
        config=registry.blob("policies/opa", b"{}", "application/vnd.opa.config.v1+json"),
    )
    hostile(registry)


def sign(registry, repository, subject):
    signature = [("sig", content("sig", 250), "application/vnd.dev.cosign.simplesigning.v1+json")]
    registry.artifact(repository, "application/vnd.dev.cosign.artifact.sig.v1+json", signature, subject=subject)
    registry.artifact(
        repository,
        "application/spdx+json",
        [("sbom.spdx.json", content("sbom", 40_000), "application/spdx+json")],
        subject=subject,
        annotations={"org.opencontainers.image.created": "2026-11-01T10:00:00Z"},
    )


def hostile(registry):
    """Every text that a client chooses is an attack on the pages."""
    layers = [(content("evil", 30_000), f"RUN echo {HOSTILE}"), (None, HOSTILE)]
    image = registry.image(
        "hostile/app",
        layers,
        "latest",
        Env=[f"EVIL={HOSTILE}"],
        Labels={HOSTILE: HOSTILE, "org.opencontainers.image.url": "javascript:alert(1)"},
        User=HOSTILE,
        Entrypoint=[HOSTILE],
        ExposedPorts={HOSTILE: {}},
    )
    registry.artifact(
        "hostile/app",
        "application/vnd.example+json",
        [(HOSTILE, content("evil file", 500), "text/plain")],
        "file",
        subject=image,
        annotations={
            HOSTILE: HOSTILE,
            "org.opencontainers.image.source": "javascript:alert(document.cookie)",
            "org.opencontainers.image.documentation": "https://example.org/docs?a=1&b=2",
        },
    )


if __name__ == "__main__":
    fill(Registry(sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else None))
