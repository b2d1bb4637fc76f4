"""The compared servers, each started on a free loopback port with its own folder, and their cost: CPU
time of the process and its children, and memory, according to /proc."""

import http.client
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import time

TICKS = os.sysconf("SC_CLK_TCK")
MEMORY = pathlib.Path("/sys/fs/cgroup/memory")
UNIFIED = pathlib.Path("/sys/fs/cgroup")


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def tree(pid):
    """The process and all its living descendants."""
    children = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                with open(f"/proc/{entry}/stat") as file:
                    parent = int(file.read().rpartition(")")[2].split()[1])
            except (FileNotFoundError, ProcessLookupError):
                continue
            children.setdefault(parent, []).append(int(entry))
    found = [pid]
    for process in found:
        found += children.get(process, [])
    return found


class Server:
    """One server. Subclasses define how it is started and which path shows that it is ready."""

    name = ""
    ready_path = "/v2/"
    ready_status = ()  # any

    def __init__(self, work, environment=None):
        self.environment = environment or {}
        self.folder = os.path.join(work, f"{self.name}-{free_port()}")
        os.makedirs(self.folder)
        self.port = free_port()
        self.address = f"127.0.0.1:{self.port}"
        self.process = None
        self.prepare()

    def prepare(self):
        pass

    def command(self):
        raise NotImplementedError

    def start(self, before=None):
        """Starts the server. Returns the seconds until it was ready."""
        begun = time.perf_counter()
        self.process = subprocess.Popen(
            self.command(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=open(os.path.join(self.folder, "stderr"), "ab"),
            preexec_fn=before,
            env=os.environ | self.environment,
        )
        while not self.is_ready():
            if self.process.poll() is not None:
                raise SystemExit(f"{self.name} exited at once, see {self.folder}/stderr")
            if time.perf_counter() - begun > 60:
                raise SystemExit(f"{self.name} isn't ready after a minute")
            time.sleep(0.001)
        return time.perf_counter() - begun

    def is_ready(self):
        connection = http.client.HTTPConnection(self.address, timeout=5)
        try:
            connection.request("GET", self.ready_path)
            return connection.getresponse().status in (self.ready_status or range(600))
        except OSError:
            return False
        finally:
            connection.close()

    def stop(self):
        if self.process is not None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(30)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
            self.process = None

    def remove(self):
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def cpu(self):
        """The CPU seconds used so far, in user and kernel mode."""
        ticks = 0
        for pid in tree(self.process.pid):
            with open(f"/proc/{pid}/stat") as file:
                fields = file.read().rpartition(")")[2].split()
            ticks += sum(int(field) for field in fields[11:15])
        return ticks / TICKS

    def memory(self):
        """Resident memory in MiB."""
        with open(f"/proc/{self.process.pid}/status") as file:
            for line in file:
                if line.startswith("VmRSS"):
                    return int(line.split()[1]) / 1024
        raise SystemExit("no VmRSS")


class Orlop(Server):
    name = "orlop"
    ready_path = "/readyz"
    ready_status = (200,)
    binary = os.environ.get("BENCH_BIN", "target/dist/orlop")

    def command(self):
        return [self.binary, "serve", "--data", self.folder, "--listen", self.address]


class DockerRegistry(Server):
    """Debian's package of distribution, without its access log, to give it every advantage."""

    name = "docker-registry"

    def prepare(self):
        self.config = os.path.join(self.folder, "config.yml")
        with open(self.config, "w") as file:
            file.write(
                "version: 0.1\nlog: {level: error, accesslog: {disabled: true}}\n"
                "storage: {delete: {enabled: true}, cache: {blobdescriptor: inmemory}, "
                f"filesystem: {{rootdirectory: {self.folder}/data}}}}\n"
                f"http: {{addr: '{self.address}'}}\n"
            )

    def command(self):
        return ["docker-registry", "serve", self.config]


class Nginx(Server):
    """A static server of the files in its `www`, configured for speed."""

    name = "nginx"
    ready_path = "/"

    def prepare(self):
        # The worker runs as another user and must be able to read the files.
        os.chmod(self.folder, 0o755)
        self.www = os.path.join(self.folder, "www")
        os.makedirs(self.www)
        self.config = os.path.join(self.folder, "nginx.conf")
        with open(self.config, "w") as file:
            file.write(
                f"daemon off; master_process off; pid {self.folder}/pid; error_log stderr crit;\n"
                "worker_processes 1; events { worker_connections 1024; }\n"
                "http {\n"
                "  access_log off; sendfile on; tcp_nopush on; tcp_nodelay on;\n"
                "  keepalive_timeout 600; keepalive_requests 1000000000;\n"
                "  default_type application/octet-stream;\n"
                f"  client_body_temp_path {self.folder}/t1; proxy_temp_path {self.folder}/t2;\n"
                f"  fastcgi_temp_path {self.folder}/t3; uwsgi_temp_path {self.folder}/t4;\n"
                f"  scgi_temp_path {self.folder}/t5;\n"
                f"  server {{ listen {self.address}; root {self.www}; }}\n"
                "}\n"
            )

    def command(self):
        return ["nginx", "-c", self.config, "-p", self.folder]


class MemoryLimit:
    """A control group with a memory limit, of version 1 or 2, depending on the machine."""

    def __init__(self, limit):
        self.v1 = (MEMORY / "memory.limit_in_bytes").exists()
        base = MEMORY if self.v1 else UNIFIED
        self.path = base / f"orlop-bench-{os.getpid()}"
        if not self.v1:
            (UNIFIED / "cgroup.subtree_control").write_text("+memory")
        self.path.mkdir()
        name = "memory.limit_in_bytes" if self.v1 else "memory.max"
        (self.path / name).write_text(str(limit))

    def enter(self):
        """Runs in the child before it executes the server."""
        (self.path / "cgroup.procs").write_text(str(os.getpid()))

    def killed(self):
        name = "memory.oom_control" if self.v1 else "memory.events"
        for line in (self.path / name).read_text().splitlines():
            key, _, value = line.partition(" ")
            if key == "oom_kill":
                return int(value)
        return 0

    def remove(self):
        for _ in range(50):
            try:
                self.path.rmdir()
                return
            except OSError:
                time.sleep(0.1)
