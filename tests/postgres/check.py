#!/usr/bin/env python3
"""Checks that PostgreSQL 15 understands the SQL of the metadata store.

    tests/postgres/check.py

Runs the metadata tests, which record every SQL text that they prepare, and prepares each text on a PostgreSQL of its
own with the tables of the newest SQLite schema. Also fails if the source contains SQL that no test ran. This proves
syntax and types, not behaviour.
"""

import json
import os
import re
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from contextlib import closing, contextmanager
from pathlib import Path

METADATA = Path("src/metadata")
# SQL of no particular engine.
SHARED = ["facts.rs", "image_details.rs", "ops/**/*.rs", "queries/**/*.rs"]
BINARIES = Path("/usr/lib/postgresql/15/bin")
# PostgreSQL refuses to run as root; Debian's package creates this user.
USER = "postgres"
TYPES = {"INTEGER": "bigint", "TEXT": "text", "BLOB": "bytea"}
# Types of values that the store binds.
PARAMETERS = {*TYPES.values(), "integer", "boolean"}


def main():
    os.chdir(Path(__file__).parents[2])
    recorded = record()
    problems = [f"no test runs this SQL of {file}:\n{sql}" for file, sql in find_unrecorded(recorded)]
    problems += [f"PostgreSQL rejects this SQL:\n{sql}\n{error}" for sql, error in prepare(recorded)]
    for problem in problems:
        print(problem, end="\n\n")
    print(f"{len(recorded)} SQL texts, {len(problems)} problems")
    sys.exit(bool(problems))


def record():
    """Runs the metadata tests and returns the SQL that they prepared."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "sql")
        command = ["cargo", "test", "--locked", "--quiet", "--lib", "metadata::"]
        tests = subprocess.run(command, env={**os.environ, "ORLOP_RECORD_SQL": str(path)})
        if tests.returncode != 0:
            sys.exit(tests.returncode)
        return sorted({json.loads(line) for line in path.read_text().splitlines()})


def find_unrecorded(recorded):
    """Yields the literals of the source that look like SQL but are part of no recorded text."""
    texts = [normalize(text) for text in recorded]
    for file in sorted(file for pattern in SHARED for file in METADATA.glob(pattern)):
        for sql in map(normalize, find_literals(file.read_text())):
            is_statement = re.match(r"(SELECT|INSERT|UPDATE|DELETE|WITH|PRAGMA|VACUUM|ATTACH)\b", sql)
            if not is_statement and not re.search(r"\?\d|^(FROM|JOIN|WHERE|AND|OR|ORDER BY)\b", sql):
                continue
            # Each placeholder of `format!` stands for any text.
            pattern = ".*".join(map(re.escape, re.split(r"\{\w*\}", sql)))
            if is_statement:
                pattern = rf"^{pattern}$|\( ?{pattern} ?\)"
            if not any(re.search(pattern, text) for text in texts):
                yield file, sql


def find_literals(source):
    """Yields the string literals of Rust source."""
    tokens = r"""//[^\n]*|/\*.*?\*/|'(?:\\.|[^'\\])'|r(?P<hashes>#*)"(?P<raw>.*?)"(?P=hashes)|"(?P<text>(?:\\.|[^"\\])*)\""""
    for token in re.finditer(tokens, source, re.DOTALL):
        if token["raw"] is not None:
            yield token["raw"]
        elif token["text"] is not None:
            yield re.sub(r"\\\n\s*", "", token["text"]).replace('\\"', '"')


def normalize(sql):
    return re.sub(r"\s+", " ", sql).strip()


def prepare(texts):
    """Prepares the texts on PostgreSQL. Yields those that fail, each with the error."""
    # One line each: errors name their line.
    script = [f"PREPARE s{index} AS {translate(text)};" for index, text in enumerate(texts)]
    script.append("SELECT name, unnest(parameter_types) FROM pg_prepared_statements;")
    with run_server() as psql:
        psql("-v", "ON_ERROR_STOP=1", input="\n".join(create_tables()))
        result = psql("-A", "-t", input="\n".join(script))
    for error in re.finditer(r"^psql:<stdin>:(\d+): (.*?)(?=^psql:|\Z)", result.stderr, re.DOTALL | re.MULTILINE):
        yield texts[int(error[1]) - 1], error[2].strip()
    for row in result.stdout.splitlines():
        name, found = row.split("|")
        if found not in PARAMETERS:
            yield texts[int(name[1:])], f"ERROR: a parameter has the type {found}"


def translate(text):
    """Numbers of parameters are the one thing that the engines write differently."""
    return re.sub(r"\?(\d+)", r"$\1", normalize(text))


def create_tables():
    """Yields statements that create the tables and indexes of the SQLite schema. Triggers are not translated."""
    with closing(sqlite3.connect(":memory:")) as db:
        migrations = METADATA.joinpath("sqlite/migrations").glob("V*.sql")
        for migration in sorted(migrations, key=lambda file: int(file.name[1:].split("_")[0])):
            db.executescript(migration.read_text())
        for (table,) in db.execute("SELECT name FROM sqlite_schema WHERE type = 'table'").fetchall():
            columns = db.execute(f"PRAGMA table_info({table})").fetchall()
            definitions = [f'"{name}" {TYPES[kind]}' for _, name, kind, _, _, _ in columns]
            keys = [[name for _, name, _, _, _, key in sorted(columns, key=lambda column: column[5]) if key]]
            for _, index, unique, origin, _ in db.execute(f"PRAGMA index_list({table})").fetchall():
                if unique and origin == "u":
                    keys.append([name for _, _, name in db.execute(f"PRAGMA index_info({index})")])
            definitions += [f"UNIQUE ({', '.join(key)})" for key in keys]
            yield f"CREATE TABLE {table} ({', '.join(definitions)});"
        for (index,) in db.execute("SELECT sql FROM sqlite_schema WHERE type = 'index' AND sql IS NOT NULL"):
            yield f"{index};"


@contextmanager
def run_server():
    """Runs a PostgreSQL that is reached through a socket only. Returns a function that calls psql."""
    if not BINARIES.exists():
        sys.exit(f"{BINARIES} is missing: install PostgreSQL 15, as .ci/install does")
    # The user must be able to reach the folder, and the path of a socket is limited.
    folder = tempfile.mkdtemp(prefix="orlop-postgres-", dir="/tmp")
    as_user = []
    if os.geteuid() == 0:
        shutil.chown(folder, USER)
        as_user = ["runuser", "-u", USER, "--"]

    def call(program, *arguments, **options):
        command = [*as_user, BINARIES / program, *arguments]
        return subprocess.run(command, text=True, stdout=subprocess.PIPE, cwd=folder, **options)

    def psql(*arguments, **options):
        command = ["-X", "-q", "-h", folder, "-U", USER, "-d", "postgres", "-f", "-", *arguments]
        result = call("psql", *command, stderr=subprocess.PIPE, **options)
        if result.returncode != 0:
            sys.exit(result.stderr)
        return result

    data = ["-D", f"{folder}/data"]
    # Standard output would stay open in the server.
    log = ["-l", f"{folder}/log"]
    try:
        call("initdb", *data, "-A", "trust", "-U", USER, "-E", "UTF8", "--locale=C", "--no-sync", check=True)
        call("pg_ctl", *data, *log, "-w", "-o", f"-k {folder} -h '' -F", "start", check=True)
        try:
            yield psql
        finally:
            call("pg_ctl", *data, "-m", "immediate", "stop", check=True)
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
