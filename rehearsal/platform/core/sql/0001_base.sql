-- Scans, and the markers by which a load generator proves that no acknowledged write was lost.
CREATE TABLE scans (
    id text PRIMARY KEY,
    image text NOT NULL,
    status text NOT NULL CHECK (status IN ('queued', 'running', 'done', 'failed')),
    created timestamptz NOT NULL DEFAULT now(),
    finished timestamptz
);
CREATE INDEX scans_active ON scans (status) WHERE status IN ('queued', 'running');

CREATE TABLE write_markers (
    run text NOT NULL,
    number bigint NOT NULL,
    colour text NOT NULL,
    pod text NOT NULL,
    created timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (run, number)
);
