-- Browser sessions of users. As with access tokens, an account's name refers to no row: the users of a file have sessions
-- too. hash: SHA-256 of the secret. fingerprint: the credential at the sign-in, with which the session ends.
CREATE TABLE sessions (
    id          TEXT PRIMARY KEY,
    hash        BLOB NOT NULL UNIQUE,
    account     TEXT NOT NULL,
    fingerprint TEXT NOT NULL,
    address     TEXT NOT NULL,
    client      TEXT NOT NULL,
    created_at  INTEGER NOT NULL,
    used_at     INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX sessions_by_use ON sessions (account, used_at, id);

-- The place of a tag among versions, in byte order. NULL: an older version wrote the tag, and the key is not filled in yet.
ALTER TABLE tags ADD COLUMN version_key BLOB;
CREATE INDEX tags_by_version ON tags (repo, version_key, name);
CREATE INDEX tags_without_version_key ON tags (repo, name) WHERE version_key IS NULL;

-- Plain text that users write. NULL: none.
ALTER TABLE repositories ADD COLUMN description TEXT;
