-- What happened to a tag. kind 0: push, newly made; 1: move; 2: delete; 3: expiry; 4: restore; 5: rollback;
-- 6: rename. was: what it pointed at before. Rows whose name is empty are about the repository as a whole.
ALTER TABLE tag_history ADD COLUMN kind INTEGER NOT NULL DEFAULT 0;
ALTER TABLE tag_history ADD COLUMN was BLOB;
ALTER TABLE tag_history ADD COLUMN actor TEXT;
ALTER TABLE tag_history ADD COLUMN reason TEXT;

UPDATE tag_history SET was =
    (SELECT p.digest FROM tag_history p
     WHERE p.repo = tag_history.repo AND p.name = tag_history.name AND p.id < tag_history.id
     ORDER BY p.id DESC LIMIT 1);
UPDATE tag_history SET kind = CASE WHEN digest IS NULL THEN 2 WHEN was IS NULL THEN 0 ELSE 1 END;

-- The tags that a manifest lost, and removals by age.
CREATE INDEX tag_history_of_manifest ON tag_history (repo, was, at) WHERE digest IS NULL;
CREATE INDEX tag_history_of_removals ON tag_history (at) WHERE digest IS NULL;
CREATE INDEX tag_history_of_repository ON tag_history (repo, at) WHERE digest IS NULL;

-- Which deletion of its repository took a manifest away: the id of that deletion's row in the history.
ALTER TABLE manifests ADD COLUMN removal INTEGER;
CREATE INDEX manifests_removed ON manifests (repo, removed_at) WHERE state = 1;
CREATE INDEX manifests_by_removal ON manifests (removal) WHERE state = 1 AND removal IS NOT NULL;

-- Repositories that are being deleted (kind 2) or restored (kind 4), and how far that is: at the manifest
-- with the id at, going down or up.
CREATE TABLE repository_work (
    repo    INTEGER PRIMARY KEY REFERENCES repositories (id),
    kind    INTEGER NOT NULL,
    removal INTEGER NOT NULL,
    at      INTEGER NOT NULL,
    total   INTEGER NOT NULL,
    done    INTEGER NOT NULL DEFAULT 0,
    failed  INTEGER NOT NULL DEFAULT 0,
    actor   TEXT,
    reason  TEXT
);
