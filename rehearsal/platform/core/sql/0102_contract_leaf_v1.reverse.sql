-- Reverse mapping: schema 1 leaves are a function of the evidence rows, so they come back exactly, green's items included.
CREATE TABLE merkle_leaves (
    leaf_index bigint PRIMARY KEY CHECK (leaf_index >= 0),
    evidence_id text NOT NULL,
    schema_version integer NOT NULL DEFAULT 1 CHECK (schema_version = 1),
    leaf_hash bytea NOT NULL CHECK (octet_length(leaf_hash) = 32)
);
INSERT INTO merkle_leaves (leaf_index, evidence_id, leaf_hash)
SELECT
    leaf_index,
    id,
    sha256('\x00'::bytea || convert_to('{"id":"' || id || '","kind":"' || kind || '","sha256":"' || sha256 || '"}', 'UTF8'))
FROM evidence;
