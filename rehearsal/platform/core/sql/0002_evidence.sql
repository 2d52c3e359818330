-- One row an item of evidence; the content is in the object store under its digest.
CREATE TABLE evidence (
    id text PRIMARY KEY,
    scan_id text NOT NULL REFERENCES scans (id),
    kind text NOT NULL CHECK (kind IN ('oci-manifest', 'sbom', 'attestation', 'bundle')),
    media_type text NOT NULL,
    size_bytes bigint NOT NULL CHECK (size_bytes >= 0),
    sha256 char(64) NOT NULL,
    object_key text NOT NULL,
    leaf_index bigint NOT NULL UNIQUE CHECK (leaf_index >= 0),
    log_index bigint NOT NULL,
    signer_keyid text,
    created timestamptz NOT NULL
);
CREATE INDEX evidence_scan ON evidence (scan_id);
CREATE INDEX evidence_created ON evidence (created);
