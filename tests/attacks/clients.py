"""The real clients: Docker with its own engine, containerd, skopeo, crane and curl, and nginx in front."""

import json
import os
import shutil
import socket
import subprocess
import sys
import tarfile
import time

from target import PASSWORD, free_port, make_certificate

HERE = os.path.dirname(os.path.abspath(__file__))
LAYOUT = os.path.join(HERE, "..", "e2e", "layout.py")
CACHE = os.path.join(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"), "orlop-ci", "bin")


def environment(work):
    """Makes clients store their state in the work folder."""
    home = os.path.join(work, "home")
    os.makedirs(home, exist_ok=True)
    path = f"{CACHE}:{os.environ['PATH']}"
    return os.environ | {
        "HOME": home,
        "XDG_RUNTIME_DIR": home,
        "PATH": path,
        "NO_PROXY": "127.0.0.0/8,127.0.0.1,localhost",
        "no_proxy": "127.0.0.0/8,127.0.0.1,localhost",
    }


def run(work, *command, timeout=300, stdin=None):
    """Runs a client. Returns its exit code and its output."""
    try:
        done = subprocess.run(
            command,
            stdin=stdin or subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=environment(work),
            timeout=timeout,
        )
    except subprocess.TimeoutExpired as late:
        return -1, f"did not end within {timeout} s: {(late.stdout or b'').decode(errors='replace')}"
    return done.returncode, done.stdout.decode(errors="replace")


def write_layout(folder, *sizes):
    """Writes an image layout of random layers. Returns the digest of its image."""
    shutil.rmtree(folder, ignore_errors=True)
    subprocess.run([sys.executable, LAYOUT, folder, *map(str, sizes)], check=True)
    with open(os.path.join(folder, "index.json")) as file:
        return json.load(file)["manifests"][0]["digest"]


def policy(work):
    path = os.path.join(work, "policy.json")
    if not os.path.exists(path):
        with open(path, "w") as file:
            file.write('{"default":[{"type":"insecureAcceptAnything"}]}')
    return path


class Engine:
    """Debian's Docker engine in its own folder, and the containerd that it starts."""

    def __init__(self, work, *options):
        self.work = work
        self.folder = os.path.join(work, "engine")
        os.makedirs(self.folder)
        self.socket = os.path.join(self.folder, "docker.sock")
        self.log_path = os.path.join(self.folder, "log")
        with open(os.path.join(self.folder, "docker.json"), "w") as file:
            file.write("{}")
        command = [
            "dockerd",
            f"--config-file={self.folder}/docker.json",
            "--storage-driver=overlay2",
            f"--data-root={self.folder}/data",
            f"--exec-root={self.folder}/exec",
            f"--pidfile={self.folder}/pid",
            f"--host=unix://{self.socket}",
            "--iptables=false",
            "--ip6tables=false",
            *options,
        ]
        # Its mounts end with it.
        with open(self.log_path, "wb") as log:
            self.process = subprocess.Popen(
                ["unshare", "--mount", "--propagation", "private", *command],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=environment(work),
            )
        end = time.monotonic() + 60
        while self.docker("version")[0] != 0:
            if self.process.poll() is not None or time.monotonic() > end:
                raise SystemExit(f"the engine does not start:\n{self.log()[-2000:]}")
            time.sleep(0.3)

    def log(self):
        with open(self.log_path, errors="replace") as file:
            return file.read()

    def docker(self, *words, **options):
        program = "/usr/bin/docker" if os.path.exists("/usr/bin/docker") else "docker"
        return run(self.work, program, f"--host=unix://{self.socket}", *words, **options)

    def ctr(self, *words, **options):
        address = os.path.join(self.folder, "exec", "containerd", "containerd.sock")
        return run(self.work, "ctr", "--address", address, "--namespace", "attacks", *words, **options)

    def image(self, name, size):
        """Creates an image with one layer of random bytes."""
        path = os.path.join(self.work, f"{name.replace('/', '-').replace(':', '-')}.tar")
        content = path + ".random"
        with open(content, "wb") as file:
            file.write(os.urandom(size))
        with tarfile.open(path, "w") as tar:
            tar.add(content, "random")
        code, said = self.docker("import", path, name)
        os.unlink(content)
        os.unlink(path)
        if code:
            raise RuntimeError(f"docker import: {said}")

    def stop(self):
        self.process.terminate()
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


class Nginx:
    """nginx in front of the server, configured as documented, with TLS and HTTP/2 on a second port."""

    def __init__(self, work, upstream, scheme="http"):
        self.folder = os.path.join(work, f"nginx-{free_port()}")
        os.makedirs(self.folder)
        self.port, self.tls_port = free_port(), free_port()
        certificate, key = make_certificate(self.folder)
        temporary = "".join(
            f"{kind}_temp_path {self.folder}/{kind}; " for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        )
        config = f"""
user root; daemon off; pid {self.folder}/pid; error_log {self.folder}/error warn; worker_processes 1;
worker_rlimit_nofile 8192;
events {{ worker_connections 4096; }}
http {{
    access_log off; {temporary}
    server {{
        listen 127.0.0.1:{self.port};
        listen 127.0.0.1:{self.tls_port} ssl http2;
        ssl_certificate {certificate}; ssl_certificate_key {key};
        client_max_body_size 0;
        proxy_http_version 1.1;
        proxy_request_buffering off;
        proxy_buffering off;
        location / {{
            proxy_set_header Host $http_host;
            proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
            proxy_set_header X-Forwarded-Proto $scheme;
            proxy_set_header X-Forwarded-Host $http_host;
            proxy_pass {scheme}://127.0.0.1:{upstream};
        }}
    }}
}}
"""
        path = os.path.join(self.folder, "nginx.conf")
        with open(path, "w") as file:
            file.write(config)
        self.process = subprocess.Popen(["nginx", "-c", path, "-p", self.folder], stderr=subprocess.DEVNULL)


        for _ in range(100):
            try:
                socket.create_connection(("127.0.0.1", self.tls_port), 1).close()
                return
            except OSError:
                time.sleep(0.05)
        raise SystemExit("nginx does not start")

    def stop(self):
        self.process.terminate()
        self.process.wait()


def login(user="ann"):
    return f"{user}:{PASSWORD}"
