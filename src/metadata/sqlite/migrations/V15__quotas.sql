-- What the manifests of a repository take, live or not, in bytes of content; and how many rows its history has.
ALTER TABLE repositories ADD COLUMN manifest_bytes INTEGER NOT NULL DEFAULT 0;
ALTER TABLE repositories ADD COLUMN history INTEGER NOT NULL DEFAULT 0;
UPDATE repositories SET
    manifest_bytes = (SELECT coalesce(sum(m.size), 0) FROM manifests m WHERE m.repo = repositories.id),
    history = (SELECT count(*) FROM tag_history h WHERE h.repo = repositories.id);

-- The oldest rows of a repository's history go first.
CREATE INDEX tag_history_by_repository ON tag_history (repo);

CREATE TRIGGER manifest_bytes_added AFTER INSERT ON manifests BEGIN
    UPDATE repositories SET manifest_bytes = manifest_bytes + new.size WHERE id = new.repo;
END;
CREATE TRIGGER manifest_bytes_changed AFTER UPDATE OF size ON manifests WHEN new.size <> old.size BEGIN
    UPDATE repositories SET manifest_bytes = manifest_bytes + new.size - old.size WHERE id = new.repo;
END;
CREATE TRIGGER manifest_bytes_removed AFTER DELETE ON manifests BEGIN
    UPDATE repositories SET manifest_bytes = manifest_bytes - old.size WHERE id = old.repo;
END;
CREATE TRIGGER history_added AFTER INSERT ON tag_history BEGIN
    UPDATE repositories SET history = history + 1 WHERE id = new.repo;
END;
CREATE TRIGGER history_removed AFTER DELETE ON tag_history BEGIN
    UPDATE repositories SET history = history - 1 WHERE id = old.repo;
END;

-- used_bytes counts blobs and manifests. Quotas of names count the rows of repositories, which come with the first
-- upload or manifest and go when nothing is left.
ALTER TABLE quotas ADD COLUMN repositories INTEGER;
ALTER TABLE quotas ADD COLUMN used_repositories INTEGER NOT NULL DEFAULT 0;
UPDATE quotas SET (used_bytes, used_tags, used_repositories) =
    (SELECT coalesce(sum(r.bytes + r.manifest_bytes), 0), coalesce(sum(r.tags), 0), count(*) FROM repositories r
     WHERE quotas.prefix IN ('', r.name)
        OR (substr(quotas.prefix, -1) = '/' AND substr(r.name, 1, length(quotas.prefix)) = quotas.prefix));

DROP TRIGGER quota_used;
CREATE TRIGGER quota_used AFTER UPDATE OF bytes, manifest_bytes, tags, name ON repositories BEGIN
    UPDATE quotas SET used_bytes = used_bytes - old.bytes - old.manifest_bytes,
                      used_tags = used_tags - old.tags,
                      used_repositories = used_repositories - 1
    WHERE prefix IN ('', old.name) OR (substr(prefix, -1) = '/' AND substr(old.name, 1, length(prefix)) = prefix);
    UPDATE quotas SET used_bytes = used_bytes + new.bytes + new.manifest_bytes,
                      used_tags = used_tags + new.tags,
                      used_repositories = used_repositories + 1
    WHERE prefix IN ('', new.name) OR (substr(prefix, -1) = '/' AND substr(new.name, 1, length(prefix)) = prefix);
END;
CREATE TRIGGER quota_repository_added AFTER INSERT ON repositories BEGIN
    UPDATE quotas SET used_repositories = used_repositories + 1
    WHERE prefix IN ('', new.name) OR (substr(prefix, -1) = '/' AND substr(new.name, 1, length(prefix)) = prefix);
END;
CREATE TRIGGER quota_repository_removed AFTER DELETE ON repositories BEGIN
    UPDATE quotas SET used_bytes = used_bytes - old.bytes - old.manifest_bytes,
                      used_tags = used_tags - old.tags,
                      used_repositories = used_repositories - 1
    WHERE prefix IN ('', old.name) OR (substr(prefix, -1) = '/' AND substr(old.name, 1, length(prefix)) = prefix);
END;
