"""The server under attack: runs it in a control group with a memory limit, fills it with accounts and images and
monitors it."""

import base64
import hashlib
import http.client
import json
import os
import pathlib
import shutil
import signal
import socket
import ssl
import subprocess
import threading
import time

MEMORY = pathlib.Path("/sys/fs/cgroup/memory")
UNIFIED = pathlib.Path("/sys/fs/cgroup")
MIB = 1 << 20

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar"

# ann is the well-behaved user, mallory may push to evil/ and tight/, eve may do nothing.
USERS = {
    "ann": ["push:good/"],
    "mallory": ["push:evil/", "push:tight/", "pull:pub/"],
    "eve": [],
}
PASSWORD = "correct-horse-battery"
QUOTA = 3_000_000


def digest_of(data):
    return "sha256:" + hashlib.sha256(data).hexdigest()


def describe(data, media_type=LAYER):
    return {"mediaType": media_type, "digest": digest_of(data), "size": len(data)}


def basic(user, password=PASSWORD):
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


def budget_of(limit):
    """The default of `server.memory`: a quarter of the limit, between 16 and 256 MiB."""
    return max(16 * MIB, min(256 * MIB, limit // 4))


class MemoryGroup:
    """A control group with a memory limit, of version 1 or 2, depending on the machine."""

    def __init__(self, limit):
        self.is_v1 = (MEMORY / "memory.limit_in_bytes").exists()
        base = MEMORY if self.is_v1 else UNIFIED
        self.path = base / f"orlop-attacks-{os.getpid()}-{time.monotonic_ns()}"
        if not self.is_v1:
            (UNIFIED / "cgroup.subtree_control").write_text("+memory")
        self.path.mkdir()
        self.limit = limit
        (self.path / ("memory.limit_in_bytes" if self.is_v1 else "memory.max")).write_text(str(limit))
        if not self.is_v1 and (self.path / "memory.swap.max").exists():
            (self.path / "memory.swap.max").write_text("0")

    def enter(self):
        (self.path / "cgroup.procs").write_text(str(os.getpid()))

    def value(self, file, key):
        for line in (self.path / file).read_text().splitlines():
            name, _, value = line.partition(" ")
            if name == key:
                return int(value)
        return 0

    def anonymous(self):
        return self.value("memory.stat", "rss" if self.is_v1 else "anon")

    def kills(self):
        return self.value("memory.oom_control" if self.is_v1 else "memory.events", "oom_kill")

    def remove(self):
        for _ in range(100):
            try:
                self.path.rmdir()
                return
            except OSError:
                time.sleep(0.05)


class Unlimited:
    """Replaces a control group that can't be created: memory is measured but not limited."""

    limit = None

    def enter(self):
        pass

    def anonymous(self):
        return 0

    def kills(self):
        return 0

    def remove(self):
        pass


def memory_group(limit):
    try:
        return MemoryGroup(limit)
    except OSError as error:
        print(f"no control group ({error}): memory is measured, not limited", flush=True)
        return Unlimited()


def status_of(pid):
    values = {}
    try:
        with open(f"/proc/{pid}/status") as file:
            for line in file:
                key, _, value = line.partition(":")
                if value.endswith(" kB\n"):
                    values[key] = int(value.split()[0]) * 1024
    except OSError:
        pass
    return values


class Sampler(threading.Thread):
    """Samples the memory of the server. `peak` is the maximum since reset()."""

    def __init__(self, target):
        super().__init__(daemon=True)
        self.target = target
        self.peak = 0
        self.current = 0
        self.files = 0
        self.is_over = threading.Event()

    def reset(self):
        self.peak = 0

    def run(self):
        while not self.is_over.wait(0.02):
            status = status_of(self.target.process.pid)
            self.current = max(status.get("RssAnon", 0), self.target.group.anonymous())
            self.files = max(self.files, status.get("RssFile", 0))
            self.peak = max(self.peak, self.current)

    def high_water(self):
        """The process's high-water mark since its start, without mapped files."""
        return status_of(self.target.process.pid).get("VmHWM", 0) - self.files


class Target:
    def __init__(self, work, binary, limit, mode, tls=False, settings=None):
        self.folder = os.path.join(work, f"target-{time.monotonic_ns()}")
        self.data = os.path.join(self.folder, "data")
        os.makedirs(self.data)
        self.binary = binary
        self.limit = limit
        self.mode = mode
        self.tls = tls
        self.settings = settings or {}
        self.port = free_port()
        self.process = None
        self.group = None
        self.sampler = None
        # Information about the prepared content that attacks need.
        self.facts = {}

    @property
    def address(self):
        return ("127.0.0.1", self.port)

    def environment(self):
        variables = {
            "ORLOP_AUTH__MODE": self.mode,
            "ORLOP_AUTH__ADMIN_PASSWORD": PASSWORD,
            "ORLOP_AUTH__PUBLIC": '["pub/**"]',
            "ORLOP_STORAGE__MIN_FREE": "64MiB",
            "ORLOP_STORAGE__WARN_FREE": "128MiB",
            "ORLOP_QUOTAS": f'[{{ prefix = "tight/", bytes = "{QUOTA}B" }}]',
            "ORLOP_RETENTION__POLICIES": '[{ preset = "ci" }]',
            "ORLOP_LOG__ACCESS": "false",
        }
        if self.tls:
            certificate, key = make_certificate(self.folder)
            variables |= {"ORLOP_SERVER__TLS_CERTIFICATE": certificate, "ORLOP_SERVER__TLS_KEY": key}
        kept = {key: value for key, value in os.environ.items() if not key.startswith("ORLOP")}
        return kept | variables | self.settings

    def start(self):
        self.group = memory_group(self.limit)
        command = [self.binary, "serve", "--data", self.data, "--listen", f"127.0.0.1:{self.port}"]
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(
                command,
                env=self.environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                preexec_fn=self.group.enter,
            )
        self.sampler = Sampler(self)
        self.sampler.start()
        end = time.monotonic() + 30
        while not self.is_answering(2, "/readyz"):
            if self.process.poll() is not None or time.monotonic() > end:
                raise SystemExit(f"the server does not start:\n{self.last_log()}")
            time.sleep(0.05)

    @property
    def log_path(self):
        return os.path.join(self.folder, "log")

    def last_log(self):
        with open(self.log_path, "rb") as file:
            return file.read()[-3000:].decode(errors="replace")

    def is_alive(self):
        return self.process is not None and self.process.poll() is None

    def wait_until_calm(self):
        """Waits until the server answers again after the previous attack."""
        end = time.monotonic() + 10
        while self.is_alive() and time.monotonic() < end and not self.is_answering(0.5, "/readyz"):
            time.sleep(0.1)

    def is_answering(self, timeout, path="/v2/"):
        try:
            return self.request("GET", path, timeout=timeout)[0] in (200, 401)
        except (OSError, http.client.HTTPException):
            return False

    def request(self, method, path, body=None, headers=None, user=None, timeout=60, source="127.0.0.1"):
        """Sends one request on a new connection. Returns status, headers and body."""
        headers = dict(headers or {})
        if user:
            headers["Authorization"] = basic(user)
        options = {"timeout": timeout, "source_address": (source, 0)}
        if self.tls:
            connection = http.client.HTTPSConnection(*self.address, context=ssl_context(), **options)
        else:
            connection = http.client.HTTPConnection(*self.address, **options)
        try:
            connection.request(method, path, body, headers)
            response = connection.getresponse()
            return response.status, response.headers, response.read()
        finally:
            connection.close()

    def command(self, *words, stdin="", check=True):
        """Runs a command of the program over the admin socket of the running server."""
        return subprocess.run(
            [self.binary, "--data", self.data, *words],
            input=stdin,
            capture_output=True,
            text=True,
            check=check,
            env={key: value for key, value in os.environ.items() if not key.startswith("ORLOP")},
        )

    # Content.

    def fill(self):
        """Creates the accounts, an image of ann and a public blob of 8 MiB."""
        for user, roles in USERS.items():
            grants = [word for role in roles for word in ("--may", role)]
            self.command("user", "add", user, "--password-stdin", *grants, stdin=PASSWORD)
        self.layer = os.urandom(64 << 10)
        self.config = json.dumps({"architecture": "amd64", "os": "linux"}).encode()
        self.push_image("good/app", "v1", [self.layer], "ann")
        self.big = os.urandom(8 << 20)
        self.facts["big"] = self.push_blob("pub/big", self.big, "admin")
        self.push_image("pub/app", "v1", [self.layer], "admin")

    def push_blob(self, repository, data, user):
        path = f"/v2/{repository}/blobs/uploads/?digest={digest_of(data)}"
        status, _, body = self.request("POST", path, data, user=user)
        if status != 201:
            raise RuntimeError(f"{path}: {status} {body[:300]!r}")
        return digest_of(data)

    def push_image(self, repository, tag, layers, user):
        for data in (self.config, *layers):
            self.push_blob(repository, data, user)
        manifest = json.dumps(
            {
                "schemaVersion": 2,
                "mediaType": MANIFEST,
                "config": describe(self.config, CONFIG),
                "layers": [describe(data) for data in layers],
            }
        ).encode()
        self.push_manifest(repository, tag, manifest, user)

    def push_manifest(self, repository, tag, data, user, media_type=MANIFEST, wanted=(201,)):
        path = f"/v2/{repository}/manifests/{tag}"
        status, _, body = self.request("PUT", path, data, {"Content-Type": media_type}, user)
        if status not in wanted:
            raise RuntimeError(f"{path}: {status} {body[:300]!r}")
        return status

    def bytes_stored(self):
        total = 0
        for folder, _, names in os.walk(self.data):
            for name in names:
                try:
                    total += os.lstat(os.path.join(folder, name)).st_blocks * 512
                except OSError:
                    pass
        return total

    def stop(self):
        """Stops the server with SIGTERM, then SIGKILL. Returns the exit code."""
        if self.process is None:
            return None
        self.sampler.is_over.set()
        self.sampler.join()
        self.process.send_signal(signal.SIGTERM)
        try:
            code = self.process.wait(10)
        except subprocess.TimeoutExpired:
            # A second signal ends running transfers immediately.
            self.process.send_signal(signal.SIGTERM)
            try:
                code = self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                code = self.process.wait()
        self.process = None
        self.group.remove()
        return code

    def remove(self):
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def ssl_context(protocols=None):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    if protocols:
        context.set_alpn_protocols(protocols)
    return context


def make_certificate(folder):
    """Creates a self-signed certificate of 127.0.0.1. Returns its path and the path of its key."""
    certificate, key = os.path.join(folder, "tls.crt"), os.path.join(folder, "tls.key")
    if not os.path.exists(certificate):
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"]
            + ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1,DNS:localhost"]
            + ["-keyout", key, "-out", certificate],
            check=True,
            capture_output=True,
        )
    return certificate, key
