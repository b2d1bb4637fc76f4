-- A digest is stored as one byte for its algorithm (1: sha256, 2: sha512) and the hash; a time as
-- milliseconds since the Unix epoch; a generation or upload id as its sixteen bytes.

CREATE TABLE facts (
    key   TEXT PRIMARY KEY,
    value TEXT NOT NULL
) WITHOUT ROWID;

CREATE TABLE repositories (
    id         INTEGER PRIMARY KEY,
    name       TEXT NOT NULL UNIQUE,
    created_at INTEGER NOT NULL
);

CREATE TABLE blobs (
    digest     BLOB PRIMARY KEY,
    size       INTEGER NOT NULL,
    generation BLOB NOT NULL,
    damaged    INTEGER NOT NULL DEFAULT 0
) WITHOUT ROWID;

-- That a repository may serve a blob. A hidden link is absent to everyone until something unhides it.
CREATE TABLE links (
    repo      INTEGER NOT NULL REFERENCES repositories (id),
    digest    BLOB NOT NULL REFERENCES blobs (digest),
    leased_at INTEGER NOT NULL,
    hidden_at INTEGER,
    PRIMARY KEY (repo, digest)
) WITHOUT ROWID;
CREATE INDEX links_by_digest ON links (digest);

-- state 0: live, 1: in the trash, 2: purging, for good. A purge has let go of the referrers up to purged_to.
CREATE TABLE manifests (
    id            INTEGER PRIMARY KEY,
    repo          INTEGER NOT NULL REFERENCES repositories (id),
    digest        BLOB NOT NULL,
    state         INTEGER NOT NULL DEFAULT 0,
    pushed_at     INTEGER NOT NULL,
    leased_at     INTEGER NOT NULL,
    pulled_at     INTEGER NOT NULL DEFAULT 0,
    -- When it was last put without a tag, or lost one.
    alone_at      INTEGER NOT NULL DEFAULT 0,
    removed_at    INTEGER,
    size          INTEGER NOT NULL,
    media_type    TEXT NOT NULL,
    artifact_type TEXT,
    annotations   TEXT,
    purged_to     INTEGER NOT NULL DEFAULT 0,
    content       BLOB NOT NULL,
    UNIQUE (repo, digest)
);
CREATE INDEX manifests_live ON manifests (repo) WHERE state = 0;
CREATE INDEX manifests_in_trash ON manifests (removed_at) WHERE state = 1;
CREATE INDEX manifests_purging ON manifests (id) WHERE state = 2;

-- kind 0: a blob, 1: a child manifest, 2: the subject; only for that is source the manifest's own digest.
CREATE TABLE edges (
    manifest INTEGER NOT NULL REFERENCES manifests (id),
    target   BLOB NOT NULL,
    kind     INTEGER NOT NULL,
    repo     INTEGER NOT NULL,
    required INTEGER NOT NULL,
    source   BLOB,
    PRIMARY KEY (manifest, target, kind)
) WITHOUT ROWID;
CREATE INDEX edges_of_referrers ON edges (repo, target, source) WHERE kind = 2;
CREATE INDEX edges_by_target ON edges (repo, target, kind, manifest);

CREATE TABLE tags (
    repo       INTEGER NOT NULL REFERENCES repositories (id),
    name       TEXT NOT NULL,
    manifest   INTEGER NOT NULL REFERENCES manifests (id),
    updated_at INTEGER NOT NULL,
    PRIMARY KEY (repo, name)
) WITHOUT ROWID;
CREATE INDEX tags_by_manifest ON tags (manifest);

-- digest NULL: the tag was taken away.
CREATE TABLE tag_history (
    id     INTEGER PRIMARY KEY,
    repo   INTEGER NOT NULL REFERENCES repositories (id),
    name   TEXT NOT NULL,
    digest BLOB,
    at     INTEGER NOT NULL
);
CREATE INDEX tag_history_by_tag ON tag_history (repo, name, id);

-- The intent is the key that the upload is about to become or, after a crash, may have become.
CREATE TABLE uploads (
    id                BLOB PRIMARY KEY,
    repo              INTEGER NOT NULL REFERENCES repositories (id),
    algorithm         INTEGER NOT NULL,
    began_at          INTEGER NOT NULL,
    touched_at        INTEGER NOT NULL,
    offset            INTEGER NOT NULL DEFAULT 0,
    hash_state        BLOB NOT NULL DEFAULT x'',
    intent_digest     BLOB,
    intent_generation BLOB
) WITHOUT ROWID;
CREATE INDEX uploads_by_repo ON uploads (repo, began_at);
CREATE INDEX uploads_by_touch ON uploads (touched_at);
CREATE INDEX uploads_with_intent ON uploads (id) WHERE intent_digest IS NOT NULL;

-- When the last of the uploads ended that began in the same part of a lease: they extend leases.
CREATE TABLE past_uploads (
    repo     INTEGER NOT NULL REFERENCES repositories (id),
    began_at INTEGER NOT NULL,
    ended_at INTEGER NOT NULL,
    PRIMARY KEY (repo, began_at)
) WITHOUT ROWID;
CREATE INDEX past_uploads_by_end ON past_uploads (ended_at);

-- What is to be looked at. kind 0: a link, since it was leased; 1: a manifest, since it lost its last
-- holder; 2: a hidden link, since it was hidden; 3: an orphan, since its index or subject was removed.
CREATE TABLE review (
    kind   INTEGER NOT NULL,
    repo   INTEGER NOT NULL,
    digest BLOB NOT NULL,
    since  INTEGER NOT NULL,
    PRIMARY KEY (kind, repo, digest)
) WITHOUT ROWID;
CREATE INDEX review_by_age ON review (kind, since);

-- Keys that no record names, whose bytes are to be removed.
CREATE TABLE doomed (
    generation BLOB PRIMARY KEY,
    digest     BLOB NOT NULL,
    size       INTEGER NOT NULL
) WITHOUT ROWID;

CREATE TABLE totals (
    id        INTEGER PRIMARY KEY CHECK (id = 1),
    blobs     INTEGER NOT NULL,
    bytes     INTEGER NOT NULL,
    manifests INTEGER NOT NULL,
    uploads   INTEGER NOT NULL
);
INSERT INTO totals (id, blobs, bytes, manifests, uploads) VALUES (1, 0, 0, 0, 0);
CREATE TRIGGER blob_added AFTER INSERT ON blobs BEGIN
    UPDATE totals SET blobs = blobs + 1, bytes = bytes + new.size;
END;
CREATE TRIGGER blob_resized AFTER UPDATE OF size ON blobs WHEN new.size <> old.size BEGIN
    UPDATE totals SET bytes = bytes + new.size - old.size;
END;
CREATE TRIGGER blob_removed AFTER DELETE ON blobs BEGIN
    UPDATE totals SET blobs = blobs - 1, bytes = bytes - old.size;
END;
CREATE TRIGGER manifest_added AFTER INSERT ON manifests BEGIN
    UPDATE totals SET manifests = manifests + 1;
END;
CREATE TRIGGER manifest_removed AFTER DELETE ON manifests BEGIN
    UPDATE totals SET manifests = manifests - 1;
END;
CREATE TRIGGER upload_added AFTER INSERT ON uploads BEGIN
    UPDATE totals SET uploads = uploads + 1;
END;
CREATE TRIGGER upload_removed AFTER DELETE ON uploads BEGIN
    UPDATE totals SET uploads = uploads - 1;
END;
