-- Who, from where, did what to what, and what came of it. scope: as a quota's prefix. count: how often, from at to last_at.
CREATE TABLE audit (
    id      INTEGER PRIMARY KEY,
    at      INTEGER NOT NULL,
    last_at INTEGER NOT NULL,
    count   INTEGER NOT NULL,
    account TEXT,
    token   TEXT,
    origin  TEXT NOT NULL,
    action  TEXT NOT NULL,
    scope   TEXT NOT NULL,
    subject TEXT,
    outcome TEXT NOT NULL,
    status  INTEGER
);
CREATE INDEX audit_of_outcome ON audit (outcome);
CREATE INDEX audit_by_age ON audit (last_at);
