-- Expand: leaves that also cover created and size_bytes, beside the ones of schema 1. 2027.Q1 neither sees nor needs them.
CREATE TABLE merkle_leaves_v2 (
    leaf_index bigint PRIMARY KEY CHECK (leaf_index >= 0),
    evidence_id text NOT NULL,
    schema_version integer NOT NULL DEFAULT 2 CHECK (schema_version = 2),
    leaf_hash bytea NOT NULL CHECK (octet_length(leaf_hash) = 32)
);
ALTER TABLE scans ADD COLUMN requested_by text;
