-- For reports, which look at many manifests at once: those that list others, and edges to what need not be
-- here. Both are short lists.
CREATE INDEX edges_of_indexes ON edges (repo, manifest) WHERE kind = 1;
CREATE INDEX edges_elsewhere ON edges (repo, target) WHERE kind = 0 AND required = 0;
