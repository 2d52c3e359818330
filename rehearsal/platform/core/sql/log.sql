-- The transparency log, in a database of its own: restoring the evidence database never takes an entry back.
CREATE TABLE IF NOT EXISTS log_entries (
    log_index bigint PRIMARY KEY CHECK (log_index >= 0),
    leaf bytea NOT NULL,
    leaf_hash bytea NOT NULL CHECK (octet_length(leaf_hash) = 32),
    created timestamptz NOT NULL,
    subject char(64) NOT NULL UNIQUE
);
CREATE TABLE IF NOT EXISTS log_checkpoints (
    size bigint PRIMARY KEY,
    root bytea NOT NULL CHECK (octet_length(root) = 32),
    note text NOT NULL,
    created timestamptz NOT NULL
);
