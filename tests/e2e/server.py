"""Starts, kills, stops and checks the server under test for the long runs in Python. The variables of
lib.sh select the server."""

import os
import signal
import subprocess
import time

from client import LOST, Client

ORLOP = os.environ.get("E2E_SERVER", "orlop") == "orlop"


def free_port():
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Server:
    def __init__(self, work, **settings):
        self.data = os.path.join(work, "data")
        self.log_path = os.path.join(work, "server.log")
        self.address = f"127.0.0.1:{free_port()}"
        self.binary = os.environ["E2E_BIN"]
        self.environment = {**os.environ, **settings}
        self.config = os.path.join(work, "registry.yml")
        self.process = None
        os.makedirs(self.data, exist_ok=True)

    def command(self):
        if ORLOP:
            return [self.binary, "serve", "--data", self.data, "--listen", self.address]
        with open(self.config, "w") as file:
            file.write(
                "version: 0.1\nlog: {level: error, accesslog: {disabled: true}}\n"
                f"storage: {{delete: {{enabled: true}}, filesystem: {{rootdirectory: {self.data}}}}}\n"
                f"http: {{addr: '{self.address}', secret: same}}\n"
            )
        return ["docker-registry", "serve", self.config]

    def start(self):
        """Starts the server and waits until it is ready. Returns how many seconds that took."""
        begun = time.monotonic()
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(
                self.command(), env=self.environment, stdout=log, stderr=log, stdin=subprocess.DEVNULL
            )
        while True:
            if self.process.poll() is not None:
                raise SystemExit(f"the server exited at once with {self.process.returncode}")
            try:
                client = Client(self.address)
                if client.request("GET", "/readyz" if ORLOP else "/v2/").status == 200:
                    return time.monotonic() - begun
            except LOST:
                pass
            finally:
                client.close()
            if time.monotonic() - begun > 20:
                raise SystemExit("the server isn't ready after 20 s")
            time.sleep(0.01)

    def kill(self):
        if self.process is not None:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait()
            self.process = None

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(60)
        self.process = None
        if ORLOP and code != 0:
            raise SystemExit(f"the server exited with {code} on SIGTERM")

    def fsck(self):
        if ORLOP:
            done = subprocess.run(
                [self.binary, "fsck", "--data", self.data], capture_output=True, text=True
            )
            if done.returncode != 0:
                raise SystemExit(f"fsck: {done.returncode}\n{done.stdout}{done.stderr}")

    def bytes_stored(self):
        """The disk usage of all blobs and uploads."""
        total = 0
        for part in ("blobs", "uploads") if ORLOP else (".",):
            for folder, _, names in os.walk(os.path.join(self.data, part)):
                for name in names:
                    try:
                        total += os.lstat(os.path.join(folder, name)).st_blocks * 512
                    except FileNotFoundError:
                        pass
        return total
