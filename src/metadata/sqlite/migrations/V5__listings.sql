-- For lists of tags in the order of pushes and of pulls, and for the last of each in a repository.
CREATE INDEX tags_by_push ON tags (repo, updated_at, name);
CREATE INDEX manifests_by_pull ON manifests (repo, pulled_at) WHERE state = 0;
