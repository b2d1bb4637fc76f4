-- What a manifest's image is for, as its config or its index says: JSON with its platforms and labels. NULL: not
-- known.
ALTER TABLE manifests ADD COLUMN details TEXT;

-- The children of all indexes of a repository, without a look at their layers.
CREATE INDEX edges_of_children ON edges (repo, manifest, target) WHERE kind = 1;

-- Manifests that a policy keeps although no tag, index or subject holds them. They are renewed whenever the
-- repository is judged.
CREATE TABLE pins (
    repo   INTEGER NOT NULL REFERENCES repositories (id),
    digest BLOB NOT NULL,
    reason TEXT NOT NULL,
    PRIMARY KEY (repo, digest)
) WITHOUT ROWID;

-- Policies that were set through the API, as JSON, in the order in which they were first set.
CREATE TABLE policies (
    id     INTEGER PRIMARY KEY,
    name   TEXT NOT NULL UNIQUE,
    policy TEXT NOT NULL,
    set_at INTEGER NOT NULL,
    actor  TEXT
);

-- policy NULL: it was removed.
CREATE TABLE policy_history (
    id     INTEGER PRIMARY KEY,
    name   TEXT NOT NULL,
    policy TEXT,
    at     INTEGER NOT NULL,
    actor  TEXT
);

-- cause 0: it was time, 1: somebody asked for it, 2: the store was nearly full.
CREATE TABLE retention_runs (
    id        INTEGER PRIMARY KEY,
    began_at  INTEGER NOT NULL,
    ended_at  INTEGER NOT NULL,
    actor     TEXT,
    cause     INTEGER NOT NULL,
    tags      INTEGER NOT NULL,
    manifests INTEGER NOT NULL,
    skipped   INTEGER NOT NULL,
    bytes     INTEGER,
    stopped   INTEGER NOT NULL
);
