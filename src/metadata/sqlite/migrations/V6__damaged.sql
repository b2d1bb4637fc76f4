-- Blobs that were set aside: a short list, found without looking at the others.
CREATE INDEX blobs_damaged ON blobs (digest) WHERE damaged <> 0;
