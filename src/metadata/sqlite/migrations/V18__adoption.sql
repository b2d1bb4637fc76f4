-- Adoption of another registry's files. unverified: recorded by its size; its content has not been hashed yet. hardlinked:
-- its file is a hard link that the other registry's tree has too, so that removing it frees nothing.
ALTER TABLE blobs ADD COLUMN unverified INTEGER NOT NULL DEFAULT 0;
ALTER TABLE blobs ADD COLUMN hardlinked INTEGER NOT NULL DEFAULT 0;
CREATE INDEX blobs_unverified ON blobs (digest, size) WHERE unverified <> 0;
CREATE INDEX blobs_hardlinked ON blobs (digest, allocated) WHERE hardlinked <> 0;

-- held: adopted and not released yet. Only users may remove it.
ALTER TABLE manifests ADD COLUMN held INTEGER NOT NULL DEFAULT 0;
CREATE INDEX manifests_held ON manifests (id) WHERE held <> 0;

-- Keys that are about to be linked or copied into the store, or may have been before a crash.
CREATE TABLE adopting (
    generation BLOB PRIMARY KEY,
    digest     BLOB NOT NULL
) WITHOUT ROWID;
