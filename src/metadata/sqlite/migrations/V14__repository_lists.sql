-- What lists of repositories are filtered and sorted by. live: manifests that are not in the trash. pushed_at, pulled_at:
-- when anything was last pushed or pulled, be it gone by now; 0: never.
ALTER TABLE repositories ADD COLUMN live INTEGER NOT NULL DEFAULT 0;
ALTER TABLE repositories ADD COLUMN pushed_at INTEGER NOT NULL DEFAULT 0;
ALTER TABLE repositories ADD COLUMN pulled_at INTEGER NOT NULL DEFAULT 0;
UPDATE repositories SET
    (live, pushed_at, pulled_at) =
    (SELECT coalesce(sum(CASE WHEN m.state = 0 THEN 1 ELSE 0 END), 0), coalesce(max(m.pushed_at), 0),
            coalesce(max(m.pulled_at), 0)
     FROM manifests m WHERE m.repo = repositories.id);
UPDATE repositories SET pushed_at = t.at
FROM (SELECT repo, max(updated_at) AS at FROM tags GROUP BY repo) t
WHERE t.repo = repositories.id AND t.at > repositories.pushed_at;

-- One for each order that is offered.
CREATE INDEX repositories_by_name ON repositories (name) WHERE live > 0;
CREATE INDEX repositories_by_size ON repositories (bytes, name) WHERE live > 0;
CREATE INDEX repositories_by_push ON repositories (pushed_at, name) WHERE live > 0;
CREATE INDEX repositories_by_pull ON repositories (pulled_at, name) WHERE live > 0;

CREATE TRIGGER repository_gains_manifest AFTER INSERT ON manifests BEGIN
    UPDATE repositories
    SET live = live + CASE WHEN new.state = 0 THEN 1 ELSE 0 END, pushed_at = max(pushed_at, new.pushed_at)
    WHERE id = new.repo;
END;
CREATE TRIGGER repository_loses_manifest AFTER DELETE ON manifests WHEN old.state = 0 BEGIN
    UPDATE repositories SET live = live - 1 WHERE id = old.repo;
END;
CREATE TRIGGER manifest_removed_or_restored AFTER UPDATE OF state ON manifests
WHEN (new.state = 0) <> (old.state = 0) BEGIN
    UPDATE repositories SET live = live + CASE WHEN new.state = 0 THEN 1 ELSE -1 END WHERE id = new.repo;
END;
CREATE TRIGGER manifest_pulled AFTER UPDATE OF pulled_at ON manifests BEGIN
    UPDATE repositories SET pulled_at = new.pulled_at WHERE id = new.repo AND pulled_at < new.pulled_at;
END;
CREATE TRIGGER tag_pushed AFTER INSERT ON tags BEGIN
    UPDATE repositories SET pushed_at = new.updated_at WHERE id = new.repo AND pushed_at < new.updated_at;
END;
CREATE TRIGGER tag_pushed_again AFTER UPDATE OF updated_at ON tags BEGIN
    UPDATE repositories SET pushed_at = new.updated_at WHERE id = new.repo AND pushed_at < new.updated_at;
END;
