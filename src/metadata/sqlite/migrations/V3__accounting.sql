-- What the medium really spends on a blob. measured 0: its size rounded up, until somebody has looked.
-- links: how many repositories link it.
ALTER TABLE blobs ADD COLUMN allocated INTEGER NOT NULL DEFAULT 0;
ALTER TABLE blobs ADD COLUMN measured INTEGER NOT NULL DEFAULT 0;
ALTER TABLE blobs ADD COLUMN links INTEGER NOT NULL DEFAULT 0;
ALTER TABLE doomed ADD COLUMN allocated INTEGER NOT NULL DEFAULT 0;
UPDATE blobs SET allocated = (size + 4095) / 4096 * 4096,
                 links = (SELECT count(*) FROM links l WHERE l.digest = blobs.digest);
UPDATE doomed SET allocated = (size + 4095) / 4096 * 4096;
CREATE INDEX blobs_unmeasured ON blobs (digest) WHERE measured = 0;

ALTER TABLE totals ADD COLUMN allocated INTEGER NOT NULL DEFAULT 0;
ALTER TABLE totals ADD COLUMN doomed INTEGER NOT NULL DEFAULT 0;
ALTER TABLE totals ADD COLUMN doomed_bytes INTEGER NOT NULL DEFAULT 0;
ALTER TABLE totals ADD COLUMN doomed_allocated INTEGER NOT NULL DEFAULT 0;
UPDATE totals SET allocated = (SELECT coalesce(sum(allocated), 0) FROM blobs),
                  (doomed, doomed_bytes, doomed_allocated) =
                  (SELECT count(*), coalesce(sum(size), 0), coalesce(sum(allocated), 0) FROM doomed);

-- What a repository uses: the blobs that it links, own_allocated those that no other does.
ALTER TABLE repositories ADD COLUMN blobs INTEGER NOT NULL DEFAULT 0;
ALTER TABLE repositories ADD COLUMN bytes INTEGER NOT NULL DEFAULT 0;
ALTER TABLE repositories ADD COLUMN allocated INTEGER NOT NULL DEFAULT 0;
ALTER TABLE repositories ADD COLUMN own_bytes INTEGER NOT NULL DEFAULT 0;
ALTER TABLE repositories ADD COLUMN own_allocated INTEGER NOT NULL DEFAULT 0;
ALTER TABLE repositories ADD COLUMN tags INTEGER NOT NULL DEFAULT 0;
ALTER TABLE repositories ADD COLUMN manifests INTEGER NOT NULL DEFAULT 0;
UPDATE repositories SET
    (blobs, bytes, allocated, own_bytes, own_allocated) =
    (SELECT count(*), coalesce(sum(b.size), 0), coalesce(sum(b.allocated), 0),
            coalesce(sum(iif(b.links = 1, b.size, 0)), 0), coalesce(sum(iif(b.links = 1, b.allocated, 0)), 0)
     FROM links l JOIN blobs b ON b.digest = l.digest WHERE l.repo = repositories.id),
    tags = (SELECT count(*) FROM tags t WHERE t.repo = repositories.id),
    manifests = (SELECT count(*) FROM manifests m WHERE m.repo = repositories.id);

-- What repositories may use together: those below a prefix that ends in a slash, or the one of that name.
CREATE TABLE quotas (
    prefix     TEXT PRIMARY KEY,
    bytes      INTEGER,
    tags       INTEGER,
    used_bytes INTEGER NOT NULL DEFAULT 0,
    used_tags  INTEGER NOT NULL DEFAULT 0
) WITHOUT ROWID;

-- How the totals were when a day ended, or last; day counts from the Unix epoch.
CREATE TABLE usage_days (
    day       INTEGER PRIMARY KEY,
    blobs     INTEGER NOT NULL,
    bytes     INTEGER NOT NULL,
    allocated INTEGER NOT NULL,
    manifests INTEGER NOT NULL
);

DROP TRIGGER blob_added;
DROP TRIGGER blob_resized;
DROP TRIGGER blob_removed;
CREATE TRIGGER blob_added AFTER INSERT ON blobs BEGIN
    UPDATE totals SET blobs = blobs + 1, bytes = bytes + new.size, allocated = allocated + new.allocated;
END;
CREATE TRIGGER blob_removed AFTER DELETE ON blobs BEGIN
    UPDATE totals SET blobs = blobs - 1, bytes = bytes - old.size, allocated = allocated - old.allocated;
END;
CREATE TRIGGER blob_resized AFTER UPDATE OF size, allocated ON blobs
WHEN new.size <> old.size OR new.allocated <> old.allocated BEGIN
    UPDATE totals SET bytes = bytes + new.size - old.size, allocated = allocated + new.allocated - old.allocated;
    UPDATE repositories SET
        bytes = bytes + new.size - old.size,
        allocated = allocated + new.allocated - old.allocated,
        own_bytes = own_bytes + iif(new.links = 1, new.size - old.size, 0),
        own_allocated = own_allocated + iif(new.links = 1, new.allocated - old.allocated, 0)
    WHERE id IN (SELECT repo FROM links WHERE digest = new.digest);
END;
CREATE TRIGGER doomed_added AFTER INSERT ON doomed BEGIN
    UPDATE totals SET doomed = doomed + 1, doomed_bytes = doomed_bytes + new.size,
                      doomed_allocated = doomed_allocated + new.allocated;
END;
CREATE TRIGGER doomed_removed AFTER DELETE ON doomed BEGIN
    UPDATE totals SET doomed = doomed - 1, doomed_bytes = doomed_bytes - old.size,
                      doomed_allocated = doomed_allocated - old.allocated;
END;

-- The first repository to link a blob has it alone, until a second does; the last one again.
CREATE TRIGGER link_added AFTER INSERT ON links BEGIN
    UPDATE blobs SET links = links + 1 WHERE digest = new.digest;
    UPDATE repositories SET
        blobs = repositories.blobs + 1,
        bytes = bytes + b.size,
        allocated = repositories.allocated + b.allocated,
        own_bytes = own_bytes + iif(b.links = 1, b.size, 0),
        own_allocated = own_allocated + iif(b.links = 1, b.allocated, 0)
    FROM (SELECT size, allocated, links FROM blobs WHERE digest = new.digest) b
    WHERE id = new.repo;
    UPDATE repositories SET own_bytes = own_bytes - b.size, own_allocated = own_allocated - b.allocated
    FROM (SELECT size, allocated, links FROM blobs WHERE digest = new.digest) b
    WHERE id = (SELECT repo FROM links WHERE digest = new.digest AND repo <> new.repo LIMIT 1) AND b.links = 2;
END;
CREATE TRIGGER link_removed AFTER DELETE ON links BEGIN
    UPDATE blobs SET links = links - 1 WHERE digest = old.digest;
    UPDATE repositories SET
        blobs = repositories.blobs - 1,
        bytes = bytes - b.size,
        allocated = repositories.allocated - b.allocated,
        own_bytes = own_bytes - iif(b.links = 0, b.size, 0),
        own_allocated = own_allocated - iif(b.links = 0, b.allocated, 0)
    FROM (SELECT size, allocated, links FROM blobs WHERE digest = old.digest) b
    WHERE id = old.repo;
    UPDATE repositories SET own_bytes = own_bytes + b.size, own_allocated = own_allocated + b.allocated
    FROM (SELECT size, allocated, links FROM blobs WHERE digest = old.digest) b
    WHERE id = (SELECT repo FROM links WHERE digest = old.digest LIMIT 1) AND b.links = 1;
END;

DROP TRIGGER manifest_added;
DROP TRIGGER manifest_removed;
CREATE TRIGGER manifest_added AFTER INSERT ON manifests BEGIN
    UPDATE totals SET manifests = manifests + 1;
    UPDATE repositories SET manifests = manifests + 1 WHERE id = new.repo;
END;
CREATE TRIGGER manifest_removed AFTER DELETE ON manifests BEGIN
    UPDATE totals SET manifests = manifests - 1;
    UPDATE repositories SET manifests = manifests - 1 WHERE id = old.repo;
END;
CREATE TRIGGER tag_added AFTER INSERT ON tags BEGIN
    UPDATE repositories SET tags = tags + 1 WHERE id = new.repo;
END;
CREATE TRIGGER tag_removed AFTER DELETE ON tags BEGIN
    UPDATE repositories SET tags = tags - 1 WHERE id = old.repo;
END;

CREATE TRIGGER quota_used AFTER UPDATE OF bytes, tags, name ON repositories BEGIN
    UPDATE quotas SET used_bytes = used_bytes - old.bytes, used_tags = used_tags - old.tags
    WHERE prefix IN ('', old.name) OR (substr(prefix, -1) = '/' AND substr(old.name, 1, length(prefix)) = prefix);
    UPDATE quotas SET used_bytes = used_bytes + new.bytes, used_tags = used_tags + new.tags
    WHERE prefix IN ('', new.name) OR (substr(prefix, -1) = '/' AND substr(new.name, 1, length(prefix)) = prefix);
END;
