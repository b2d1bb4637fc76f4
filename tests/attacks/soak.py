"""Docker, containerd, skopeo and crane push and pull while all attacks run at once. Every push and pull must succeed, no
image may be lost, and the server's memory must stay constant."""

import concurrent.futures
import json
import os
import re
import shutil
import statistics
import threading
import time

import attack as attacks
from clients import Engine, login, policy, run, write_layout
from target import MIB, PASSWORD, Target, budget_of, digest_of

# A push or pull is retried this many times before it counts as failed, as a person would retry.
TRIES = 3
# How far the memory in the last quarter may exceed that in the second one.
GROWTH = 16 * MIB
ALLOWANCE = 64 * MIB
SIZES = (200_000, 3_000_000)


class Worker:
    """One client that repeatedly creates an image, pushes it, removes it, pulls it and compares it."""

    def __init__(self, name, work, target, engine):
        self.name = name
        self.work = os.path.join(work, name)
        os.makedirs(self.work)
        self.engine = engine
        self.host = f"127.0.0.1:{target.port}"
        self.pushed = []
        self.done = 0
        self.again = []
        self.failed = []
        self.slowest = 0

    def attempt(self, what, command):
        """Runs a command until it succeeds. Returns its output."""
        begun = time.monotonic()
        for number in range(TRIES):
            code, said = command()
            if code == 0:
                self.done += 1
                self.slowest = max(self.slowest, time.monotonic() - begun)
                return said
            (self.again if number + 1 < TRIES else self.failed).append(f"{what}: {said.strip()[-300:]}")
            time.sleep(2)
        raise RuntimeError(what)

    def repeat(self, until):
        number = 0
        while time.monotonic() < until:
            number += 1
            try:
                getattr(self, self.name)(number)
            except RuntimeError:
                pass
            except Exception as error:  # noqa: BLE001 it must be in the report
                self.failed.append(f"{type(error).__name__}: {error}")
                time.sleep(1)

    def check(self, what, wanted, got):
        if wanted != got:
            self.failed.append(f"{what}: {got} instead of {wanted}")

    def docker(self, number):
        docker = self.engine.docker
        name = f"{self.host}/good/docker{number % 5}:{number}"
        self.engine.image(name, SIZES[number % 2])
        code, wanted = docker("inspect", "--format", "{{.Id}}", name)
        said = self.attempt("docker push", lambda: docker("push", name))
        digest = re.search(r"digest: (sha256:[0-9a-f]{64})", said)[1]
        self.pushed.append((f"good/docker{number % 5}", digest))
        docker("rmi", name)
        reference = name.rpartition(":")[0] + "@" + digest
        self.attempt("docker pull", lambda: docker("pull", reference))
        self.check("docker", wanted, docker("inspect", "--format", "{{.Id}}", reference)[1])
        docker("rmi", reference)

    def layout(self, number):
        folder = os.path.join(self.work, "layout")
        return folder, write_layout(folder, SIZES[number % 2], 20_000, 20_000)

    def skopeo(self, number):
        folder, digest = self.layout(number)
        remote = f"docker://{self.host}/good/skopeo{number % 5}:{number}"
        skopeo = ("skopeo", "--policy", policy(self.work), "copy")
        self.attempt(
            "skopeo push",
            lambda: run(self.work, *skopeo, "--dest-tls-verify=false", "--dest-creds", login(), f"oci:{folder}:one", remote),
        )
        self.pushed.append((f"good/skopeo{number % 5}", digest))
        pulled = os.path.join(self.work, "pulled")
        shutil.rmtree(pulled, ignore_errors=True)
        self.attempt(
            "skopeo pull",
            lambda: run(self.work, *skopeo, "--src-tls-verify=false", "--src-creds", login(), remote, f"oci:{pulled}:one"),
        )
        with open(os.path.join(pulled, "index.json")) as file:
            self.check("skopeo", digest, json.load(file)["manifests"][0]["digest"])

    def crane(self, number):
        folder, digest = self.layout(number)
        remote = f"{self.host}/good/crane{number % 5}:{number}"
        if number == 1:
            self.attempt("crane login", lambda: run(self.work, "crane", "auth", "login", self.host, "-u", "ann", "-p", PASSWORD))
        self.attempt("crane push", lambda: run(self.work, "crane", "push", "--insecure", folder, remote))
        repository = f"good/crane{number % 5}"
        found = self.attempt("crane digest", lambda: run(self.work, "crane", "digest", "--insecure", remote)).split()[-1]
        self.check("crane", digest, found)
        self.pushed.append((repository, found))
        self.attempt("crane pull", lambda: run(self.work, "crane", "validate", "--insecure", "--remote", remote))

    def containerd(self, number):
        folder, digest = self.layout(number)
        ctr = self.engine.ctr
        archive = os.path.join(self.work, "image.tar")
        remote = f"{self.host}/good/containerd{number % 5}:{number}"
        run(self.work, "tar", "-C", folder, "-cf", archive, ".")
        code, said = ctr("images", "import", "--no-unpack", "--base-name", "attacks.local/layout", archive)
        names = [line.split()[0] for line in ctr("images", "ls")[1].splitlines() if digest in line]
        if code or not names:
            raise ValueError(f"ctr import: {said}")
        options = ("--plain-http", "--user", login())
        self.attempt("containerd push", lambda: ctr("images", "push", *options, remote, names[0]))
        self.pushed.append((f"good/containerd{number % 5}", digest))
        ctr("images", "rm", "--sync", *names)
        self.attempt("containerd pull", lambda: ctr("images", "pull", *options, remote))
        found = [line for line in ctr("images", "ls")[1].splitlines() if line.startswith(remote)]
        self.check("containerd", True, bool(found) and digest in found[0])
        ctr("images", "rm", "--sync", remote)





def run_all(work, binary, seconds, limit, chosen):
    """Returns True if all checks passed."""
    chosen = [attack for attack in chosen if not attack.tls]
    target = Target(work, binary, limit * MIB, "closed")
    engine = None
    try:
        target.start()
        target.fill()
        for attack in chosen:
            if attack.prepare:
                attack.prepare(target, 1)
        engine = Engine(work)
        engine.docker("login", "-u", "ann", "-p", PASSWORD, f"127.0.0.1:{target.port}")
        workers = [Worker(name, work, target, engine) for name in ("docker", "containerd", "skopeo", "crane")]
        print(f"{len(chosen)} attacks at once for {seconds:.0f} s with docker, containerd, skopeo and crane", flush=True)
        target.sampler.reset()
        running = [attacks.Running(target, attack, 1, seconds) for attack in chosen]
        until = time.monotonic() + seconds
        threads = [threading.Thread(target=worker.repeat, args=(until,)) for worker in workers]
        for thread in threads:
            thread.start()
        samples = []
        next_line = time.monotonic() + 60
        while time.monotonic() < until and target.is_alive():
            samples.append(target.sampler.current)
            if time.monotonic() > next_line:
                next_line += 60
                done = ", ".join(f"{worker.name} {worker.done}" for worker in workers)
                print(f"    {done}; {samples[-1] / MIB:.0f} MiB", flush=True)
            time.sleep(0.5)
        for attacking in running:
            attacking.wait(5)
        for thread in threads:
            thread.join(400)
        return judge(target, workers, samples)
    finally:
        if engine is not None:
            engine.stop()
        target.remove()


def judge(target, workers, samples):
    fine = True

    def say(is_fine, text):
        nonlocal fine
        fine &= is_fine
        print(f"{'ok' if is_fine else 'FAILED':7} {text}", flush=True)

    for worker in workers:
        text = f"{worker.name}: {worker.done} pushes and pulls, {len(worker.again)} retried, the slowest {worker.slowest:.1f} s"
        say(not worker.failed and worker.done > 0, text)
        for error in [*worker.failed[:2], *worker.again[:2]]:
            print(f"    {error}")
    alive = target.is_alive()
    say(alive and not target.group.kills(), "the server was not killed")
    if not alive:
        return False
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        pushed = [entry for worker in workers for entry in worker.pushed]
        lost = [entry for entry, there in zip(pushed, pool.map(lambda entry: is_whole(target, *entry), pushed)) if not there]
    say(not lost, f"{len(pushed)} images are complete; {len(lost)} are not")
    quarter = max(1, len(samples) // 4)
    early, late = statistics.median(samples[quarter : 2 * quarter] or samples), statistics.median(samples[-quarter:])
    peak = target.sampler.peak
    say(late <= early + GROWTH, f"memory: {early / MIB:.0f} MiB in the second quarter, {late / MIB:.0f} MiB in the last")
    most = budget_of(target.limit) + ALLOWANCE
    say(peak <= most, f"memory: {peak / MIB:.0f} MiB at most, of {most / MIB:.0f}")
    return fine


def is_whole(target, repository, digest):
    try:
        status, _, body = target.request("GET", f"/v2/{repository}/manifests/{digest}", headers={"Accept": "*/*"}, user="ann")
        if status != 200 or digest_of(body) != digest:
            return False
        manifest = json.loads(body)
        for blob in [*manifest.get("layers", []), *filter(None, [manifest.get("config")])]:
            status, _, body = target.request("GET", f"/v2/{repository}/blobs/{blob['digest']}", user="ann")
            if status != 200 or digest_of(body) != blob["digest"]:
                return False
        return True
    except OSError:
        return False
