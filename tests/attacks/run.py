#!/usr/bin/env python3
"""Starts a server under a memory limit, attacks it and reports whether it stays within its bounds. See README.md."""

import argparse
import http.client
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time

import attack as attacks

# Each registers its attacks.
import connections  # noqa: F401
import streams  # noqa: F401
import bodies  # noqa: F401
import lists  # noqa: F401
import logins  # noqa: F401
from target import MIB, Target, budget_of
from victim import Victim, percentile

HERE = os.path.dirname(os.path.abspath(__file__))
# The memory that the server may use beyond its budget: the program itself, its caches and the allocator's.
ALLOWANCE = 64 * MIB
# Other clients' latency may grow to this multiple of the latency at rest, or to this many milliseconds.
SLOWER = 3
AT_MOST_MS = 100
# A quick run has too few operations for a 99th percentile, on machines that also do other work. It detects servers that
# stop responding.
QUICK_AT_MOST_MS = 1000


def own_network():
    """Restarts in a separate network with loopback only, if that is permitted."""
    if os.environ.get("E2E_NETWORK") or os.environ.get("ATTACKS_NETWORK"):
        return
    os.environ["ATTACKS_NETWORK"] = "own"
    probe = subprocess.run(["unshare", "--net", "true"], capture_output=True)
    if probe.returncode == 0:
        script = 'ip link set lo up && exec "$0" "$@"'
        os.execvp("unshare", ["unshare", "--net", "sh", "-c", script, sys.executable, *sys.argv])


def prepare_machine():
    """Raises the limits for many connections; the network is our own. SIGTERM ends a run like an error, with clean-up."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    if os.environ.get("ATTACKS_NETWORK") or os.environ.get("E2E_NETWORK"):
        for name, value in (("ipv4/ip_local_port_range", "1024 65535"), ("core/somaxconn", "4096")):
            try:
                with open(f"/proc/sys/net/{name}", "w") as file:
                    file.write(value)
            except OSError:
                pass


class Result:
    def __init__(self, attack, limit):
        self.attack = attack
        self.limit = limit
        self.faults = []

    def judge(self, quick):
        attack = self.attack
        # Under less than 512 MiB it is enough that nothing is killed.
        if self.killed:
            self.faults.append("killed")
        if self.limit >= 512 * MIB and self.peak > budget_of(self.limit) + ALLOWANCE:
            self.faults.append("memory")
        if not self.answers:
            self.faults.append("no answer")
        at_most = QUICK_AT_MOST_MS if quick else AT_MOST_MS
        for kind in ("pull", "push"):
            rest, during = self.latency[kind]
            if during is None or during > max(SLOWER * (rest or 0), at_most):
                self.faults.append(f"{kind} slow")
        if self.failures:
            self.faults.append("others failed")
        if attack.disk is not None and self.disk > attack.disk:
            self.faults.append("disk")
        if any(key.startswith("failed: ") for key in self.counts):
            self.faults.append("the attack itself failed")

    def line(self):
        def milliseconds(pair):
            return "/".join("-" if value is None else f"{value:.0f}" for value in pair)

        verdict = "ok" if not self.faults else "FAILED: " + ", ".join(self.faults)
        return (
            f"{self.attack.name:28} {self.limit >> 20:4} {self.peak / MIB:6.0f} {self.after / MIB:6.0f} "
            f"{milliseconds(self.latency['pull']):>12} {milliseconds(self.latency['push']):>12} {self.disk / MIB:7.1f}  {verdict}"
        )

    def as_dict(self):
        return {
            "name": self.attack.name,
            "limit_mib": self.limit >> 20,
            "peak_mib": round(self.peak / MIB, 1),
            "high_water_mib": round(self.high_water / MIB, 1),
            "after_mib": round(self.after / MIB, 1),
            "p99_pull_ms": self.latency["pull"],
            "p99_push_ms": self.latency["push"],
            "operations": self.operations,
            "failures": self.failures[:5],
            "disk_mib": round(self.disk / MIB, 1),
            "killed": self.killed,
            "counts": self.counts,
            "faults": self.faults,
        }


HEADING = f"{'attack':28} {'MiB':>4} {'peak':>6} {'after':>6} {'pull ms':>12} {'push ms':>12} {'disk':>7}  verdict"


def started(work, binary, limit, attack, settings):
    target = Target(work, binary, limit, attack.mode, attack.tls, settings)
    try:
        target.start()
        target.fill()
    except BaseException:
        print(target.last_log())
        target.remove()
        raise
    return target


def run_one(target, attack, scale, seconds, rest, quick):
    result = Result(attack, target.limit)
    if attack.prepare:
        attack.prepare(target, scale)
    before = target.bytes_stored()
    victim = Victim(target)
    victim.start()
    time.sleep(rest)
    target.sampler.reset()
    begun = time.monotonic()
    running = attacks.Running(target, attack, scale, seconds)
    while time.monotonic() < begun + seconds and target.is_alive():
        time.sleep(0.1)
    ended = time.monotonic()
    operations = victim.stop()
    result.peak = target.sampler.peak
    result.counts = {str(key): value for key, value in running.wait(15 if target.is_alive() else 0).items()}
    result.disk = max(0, target.bytes_stored() - before)
    result.killed = target.group.kills() > 0 or not target.is_alive()
    result.answers = target.is_alive() and target.is_answering(10, "/readyz")
    # A process that is being killed may appear alive for a while.
    result.killed |= target.group.kills() > 0 or not target.is_alive()
    result.peak = max(result.peak, target.sampler.peak)
    result.high_water = target.sampler.high_water()
    result.after = target.sampler.current
    result.latency = {}
    result.operations = {}
    for kind in ("pull", "push"):
        at_rest = [took for name, at, took, _, _ in operations if name == kind and begun - max(0.2, rest - 0.3) <= at < begun - 0.1]
        during = [took for name, at, took, _, _ in operations if name == kind and begun + 0.3 <= at < ended]
        result.latency[kind] = [percentile(at_rest, 0.99), percentile(during, 0.99)]
        result.operations[kind] = [len(at_rest), len(during), sum(r for n, at, _, r, _ in operations if n == kind and at >= begun)]
    result.failures = [error for _, at, _, _, error in operations if error and at >= begun]
    result.judge(quick)
    return result


def run_full(options, work, chosen, limits):
    """Runs each attack on its own server."""
    for limit in limits:
        for attack in chosen:
            target = started(work, options.binary, limit * MIB, attack, {})
            try:
                seconds = options.seconds or attack.seconds
                yield run_one(target, attack, options.scale, seconds, options.rest, False)
            except Exception as error:  # noqa: BLE001 the other attacks must still run
                print(f"{attack.name:28} {limit:4} could not be run: {type(error).__name__}: {error}", flush=True)
                yield None
            finally:
                target.remove()


def run_quick(options, work, chosen):
    """Runs attacks at their original size, with one server for each mode."""
    kinds = sorted({(attack.mode, attack.tls) for attack in chosen})
    for kind in kinds:
        target = None
        try:
            for attack in [attack for attack in chosen if (attack.mode, attack.tls) == kind]:
                if target is None or not target.is_alive():
                    if target is not None:
                        target.remove()
                    target = started(work, options.binary, 512 * MIB, attack, {})
                try:
                    target.wait_until_calm()
                    yield run_one(target, attack, 1, options.seconds or 1.2, 0.6, True)
                except (OSError, RuntimeError, http.client.HTTPException) as error:
                    print(f"{attack.name:28} could not be run: {type(error).__name__}: {error}", flush=True)
                    target.remove()
                    target = None
                    yield None
        finally:
            if target is not None:
                target.remove()


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("attack", nargs="*", help="names of attacks; --list shows them")
    parser.add_argument("--all", action="store_true", help="all attacks, at ten times their original size")
    parser.add_argument("--new", action="store_true", help="only the attacks added later")
    parser.add_argument("--quick", action="store_true", help="half of the attacks at their original size, a second or two each")
    parser.add_argument("--soak", type=float, metavar="SECONDS", help="all attacks at once, with real clients")
    parser.add_argument("--limit", type=int, action="append", metavar="MIB", help="memory limit; default: 512 and 128")
    parser.add_argument("--scale", type=float, default=10, help="multiple of the original size; default: 10")
    parser.add_argument("--seconds", type=float, help="duration of each attack; default: its own")
    parser.add_argument("--rest", type=float, default=4, help="seconds at rest before each attack; default: 4")
    parser.add_argument("--nice", type=int, default=0, help="priority of the server and the clients, as root; use -19 if the machine is busy")
    parser.add_argument("--json", help="file to which each result is appended as a line")
    parser.add_argument("--list", action="store_true", help="list the attacks")
    parser.add_argument("--work", default="/var/tmp", help="work folder on a disk, not a tmpfs")
    options = parser.parse_args()
    options.binary = os.path.abspath(os.environ.pop("ORLOP", os.environ.get("E2E_BIN", "target/release/orlop")))
    if options.list:
        for attack in attacks.ATTACKS.values():
            print(f"{attack.name:28} {'new' if attack.is_new else '   '} {attack.mode:9} {attack.about}")
        return
    unknown = set(options.attack) - set(attacks.ATTACKS)
    if unknown:
        parser.error(f"no such attack: {', '.join(sorted(unknown))}")
    chosen = [attacks.ATTACKS[name] for name in options.attack]
    if options.new:
        chosen = [attack for attack in attacks.ATTACKS.values() if attack.is_new]
    elif not chosen:
        chosen = [attack for attack in attacks.ATTACKS.values() if attack.quick or not options.quick]
    os.environ["ORLOP"] = options.binary
    own_network()
    prepare_machine()
    os.environ.pop("ORLOP", None)
    if options.nice:
        # The attackers stay 19 steps behind.
        os.nice(options.nice)
    work = tempfile.mkdtemp(prefix="orlop-attacks.", dir=options.work)
    failed = []
    count = 0
    begun = time.monotonic()
    try:
        if options.soak:
            import soak

            sys.exit(not soak.run_all(work, options.binary, options.soak, (options.limit or [512])[0], chosen))
        print(HEADING, flush=True)
        results = run_quick(options, work, chosen) if options.quick else run_full(options, work, chosen, options.limit or [512, 128])
        for result in results:
            count += 1
            if result is None:
                failed.append("?")
                continue
            print(result.line(), flush=True)
            if result.faults:
                failed.append(result.attack.name)
                for error in result.failures[:2]:
                    print(f"    {error}", flush=True)
            for key in result.counts:
                if key.startswith("failed: "):
                    print(f"    {key}", flush=True)
            if options.json:
                with open(options.json, "a") as file:
                    file.write(json.dumps(result.as_dict()) + "\n")
    finally:
        shutil.rmtree(work, ignore_errors=True)
    print(f"{count - len(failed)} passed, {len(failed)} failed, {time.monotonic() - begun:.0f} s")
    sys.exit(bool(failed))


if __name__ == "__main__":
    main()
