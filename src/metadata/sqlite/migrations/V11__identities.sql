-- By whose word somebody is who they are: the issuer and what it calls them. NULL: by a password alone.
ALTER TABLE accounts ADD COLUMN identity TEXT;
CREATE UNIQUE INDEX accounts_of_identity ON accounts (identity);
