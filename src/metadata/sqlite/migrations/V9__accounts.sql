-- Who may come in, and what they may do. kind: bootstrap, person, robot. password: as argon2 writes it.
CREATE TABLE accounts (
    name       TEXT PRIMARY KEY,
    kind       TEXT NOT NULL,
    password   TEXT,
    disabled   INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    actor      TEXT
) WITHOUT ROWID;

-- Users in a file of their own have tokens, teams and grants too: an account's name refers to no row.
-- hash: SHA-256 of the secret. scope: as a quota's prefix. bound: the password that it ends with.
CREATE TABLE access_tokens (
    id         TEXT PRIMARY KEY,
    account    TEXT NOT NULL,
    name       TEXT NOT NULL,
    hash       BLOB NOT NULL,
    role       TEXT NOT NULL,
    scope      TEXT NOT NULL,
    bound      TEXT,
    created_at INTEGER NOT NULL,
    expires_at INTEGER,
    used_at    INTEGER
) WITHOUT ROWID;
CREATE INDEX access_tokens_of ON access_tokens (account, created_at);
CREATE INDEX access_tokens_by_end ON access_tokens (expires_at) WHERE expires_at IS NOT NULL;

CREATE TABLE organisations (
    name       TEXT PRIMARY KEY,
    created_at INTEGER NOT NULL,
    actor      TEXT
) WITHOUT ROWID;

CREATE TABLE teams (
    organisation TEXT NOT NULL REFERENCES organisations (name),
    name         TEXT NOT NULL,
    PRIMARY KEY (organisation, name)
) WITHOUT ROWID;

CREATE TABLE members (
    organisation TEXT NOT NULL,
    team         TEXT NOT NULL,
    account      TEXT NOT NULL,
    PRIMARY KEY (organisation, team, account),
    FOREIGN KEY (organisation, team) REFERENCES teams (organisation, name)
) WITHOUT ROWID;

-- grantee: a user, ORGANISATION/TEAM, @users or @everybody.
CREATE TABLE grants (
    grantee TEXT NOT NULL,
    scope  TEXT NOT NULL,
    role   TEXT NOT NULL,
    set_at INTEGER NOT NULL,
    actor  TEXT,
    PRIMARY KEY (grantee, scope)
) WITHOUT ROWID;
