-- What the config of an image says, once for all manifests that have it: platforms as a JSON array, labels as a JSON
-- object. incomplete: it says more than that. NULL: not known.
CREATE TABLE configs (
    digest     BLOB PRIMARY KEY,
    platforms  TEXT,
    incomplete INTEGER NOT NULL,
    labels     TEXT
);
CREATE TRIGGER blob_details_removed AFTER DELETE ON blobs BEGIN
    DELETE FROM configs WHERE digest = old.digest;
END;

-- The config that describes an image. What has none, or was pushed before this version, has its details in `details`.
ALTER TABLE manifests ADD COLUMN config BLOB;

-- Whether the manifest says more of itself than its row: platforms, or its artifact type.
ALTER TABLE manifests ADD COLUMN incomplete INTEGER NOT NULL DEFAULT 0;

-- annotations is NULL from now on: the manifest itself has them. Rows of earlier versions are brought within the bounds
-- behind this migration, in batches, and this says how far that is.
INSERT INTO facts (key, value) VALUES ('details_bounded_to', '0');
