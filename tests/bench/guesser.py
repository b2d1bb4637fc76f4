"""How pulls are affected by a client that guesses passwords."""

import base64
import http.client
import json
import os
import statistics
import subprocess
import sys
import time

import load

GUESSES = os.path.join(os.path.dirname(os.path.abspath(__file__)), "guesses.py")

# The number of wrong passwords per second, and their source addresses.
RATE = 200
ONE = ["127.0.0.3"]
FIFTY = [f"127.0.1.{host}" for host in range(1, 51)]
# The source address of other users who log in meanwhile.
HOME = "127.0.0.2"

# The bcrypt cost: a hash takes about 60 ms.
COST = 10

# The number of pulls started per second: each a manifest, a config and nine layers of about 8 KiB.
PULLS = 100
IMAGES = {"images": 64, "repo": "bench/guessed", "seed": 1}


def guesser(bench):
    """Measures the 99th percentile of complete pulls during 200 wrong passwords per second, compared with that without,
    the server's memory over a minute of it, and how long other logins take meanwhile."""
    house = House(bench)
    quiet, first, later, crowd = [], [], [], []
    said = []
    for turn in range(5):
        # Alternate which one is first, because other load on this machine varies.
        for guessed in (False, True) if turn % 2 else (True, False):
            house.restart()
            if not guessed:
                quiet.append(house.pulls())
                continue
            attack = Attack(house, ONE, 2 * bench.pulling + 1)
            first.append(house.pulls())
            later.append(house.pulls())
            said.append(attack.end())
        house.restart()
        attack = Attack(house, FIFTY, bench.pulling + 1)
        crowd.append(house.pulls())
        said.append(attack.end())
    for what, turns in {"without": quiet, "begins": first, "goes on": later, "from 50": crowd}.items():
        print(f"  p99 of each turn, {what}: {', '.join(f'{turn:.2f}' for turn in turns)} ms")
    quiet, first, later, crowd = (statistics.median(turns) for turns in (quiet, first, later, crowd))
    beside = f"without {quiet:.2f}"
    bench.show("pulls during guesses, p99", later, "ms", later / quiet, 1.5, beside)
    bench.show("pulls at the start of guesses, p99", first, "ms", first / quiet, 1.5, beside)
    tell("one guesser", said[0])

    house.restart()
    house.pulls()
    alone = house.logins(5, 0.2)
    at_rest = house.server.memory()
    attack = Attack(house, ONE, bench.guessing)
    # While the free attempts are being hashed.
    time.sleep(0.2)
    waits = house.logins(1, 3)
    before = house.server.memory()
    waits += house.logins(bench.guessing // 3 - 1, 3)
    answers = attack.end()
    after = house.server.memory()
    # Its connections use some memory, but only temporarily.
    beside = f"after 3 s of them {before:.2f}, before {at_rest:.2f}"
    bench.show(f"memory after {bench.guessing} s of guesses", after, "MiB", after / before, 1.1, beside)
    tell(f"one guesser, {bench.guessing} s", answers)
    print(f"  others log in meanwhile within {told(waits)}; without {told(alone)}")

    print(f"  for information: 50 addresses guess: pulls' p99 {crowd:.2f} ms, {crowd / quiet:.2f} x")
    tell("50 guessers", said[1])
    house.restart()
    attack = Attack(house, FIFTY, bench.pulling)
    time.sleep(1)
    waits = house.logins(5, 1)
    tell("50 guessers", attack.end())
    print(f"  others log in meanwhile within {told(waits)}", flush=True)


def told(waits):
    return f"{statistics.median(waits):.0f} ms, at most {max(waits):.0f}"


def tell(what, said):
    answers = ", ".join(f"{count} {status}" for status, count in sorted(said["answers"].items()))
    slowed = said["slowed_after_s"]
    slowed = f"slowed after {slowed:.2f} s" if slowed is not None else "never slowed"
    print(f"  {what}: {answers}; {slowed}; p50 {said['p50_ms']:.1f} ms, max {said['max_ms']:.0f} ms", flush=True)


class Attack:
    """Runs guesses in the background."""

    def __init__(self, house, sources, seconds):
        self.process = subprocess.Popen(
            [
                sys.executable, GUESSES, house.server.address, "--from", ",".join(sources),
                "--rate", str(RATE), "--seconds", str(seconds),
            ],
            stdout=subprocess.PIPE,
        )

    def end(self):
        out, _ = self.process.communicate()
        if self.process.returncode != 0:
            raise SystemExit("the guesser failed")
        return json.loads(out)


class House:
    """Starts a server with users, and images that ann pulls."""

    def __init__(self, bench):
        users = os.path.join(bench.work, "users")
        hashed = subprocess.run(
            ["htpasswd", "-nbBC", str(COST), "ann", "secret"], stdout=subprocess.PIPE, text=True, check=True
        ).stdout.split(":")[1].strip()
        # All users have the same password, and each has to log in.
        with open(users, "w") as file:
            file.writelines(f"{name}:{hashed}\n" for name in ["ann", *(f"user-{n}" for n in range(100))])
        self.bench = bench
        self.server = bench.orlop(environment={"ORLOP_AUTH__HTPASSWD": users})
        self.next = 0
        self.load("images", count=64, jobs=4, layer=8 << 10, repo=IMAGES["repo"], seed=IMAGES["seed"])

    def load(self, mode, **options):
        return load.run(mode, self.server.address, authorization=basic("ann"), **options)

    def restart(self):
        """Restarts the server, so that it has recorded no failed logins and knows only ann. Her login stays known for a
        turn."""
        self.server.stop()
        self.server.start()
        self.next = 0
        self.login("ann")
        # Slow first requests must not count in any turn.
        self.load("pulls", count=PULLS, rate=PULLS, jobs=8, **IMAGES)

    def pulls(self):
        return self.load("pulls", count=self.bench.pulling * PULLS, rate=PULLS, jobs=8, **IMAGES)["p99_ms"]

    def login(self, name):
        """How long a login takes, in milliseconds."""
        begun = time.perf_counter()
        connection = http.client.HTTPConnection(self.server.address, timeout=60, source_address=(HOME, 0))
        connection.request("GET", "/v2/", headers={"Authorization": basic(name)})
        if connection.getresponse().status != 200:
            raise SystemExit(f"{name} cannot log in")
        connection.close()
        return (time.perf_counter() - begun) * 1000

    def logins(self, count, every):
        """How long the first logins of `count` users take, one after the other."""
        waits = []
        for _ in range(count):
            begun = time.perf_counter()
            waits.append(self.login(f"user-{self.next}"))
            self.next += 1
            time.sleep(max(0, begun + every - time.perf_counter()))
        return waits


def basic(name):
    return "Basic " + base64.b64encode(f"{name}:secret".encode()).decode()
