-- What happened to the store while nobody was looking. facts: JSON, by the kind.
CREATE TABLE events (
    id    INTEGER PRIMARY KEY,
    at    INTEGER NOT NULL,
    kind  TEXT NOT NULL,
    facts TEXT NOT NULL
);
CREATE INDEX events_of_kind ON events (kind);
CREATE INDEX events_by_age ON events (at);
