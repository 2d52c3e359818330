"""Evidence continuity: proves that an upgrade lost and altered nothing, by recomputing it.

The package trusts no verdict of the platform. It hashes raw bytes, rebuilds Merkle trees and verifies signatures
against a trust root that the operator held before the upgrade. It opens no connection itself: rows, contents and log
entries come through the protocols in `sources`, so the same code runs against a site, a folder, or a table in a test.

========== =======================================================================================================
merkle     RFC 6962 / 9162 trees: roots, inclusion, consistency
dsse       signed envelopes over bytes
signing    making one, with a private key
checkpoint C2SP signed notes of a transparency log
bundle     Sigstore bundles against a trusted root, offline; or by plain keys
oci, sbom  image manifests and layouts by re-hash; SBOMs by raw bytes
trust      the trust root: attestation keys and the log's key
snapshot   one pass over every item: a sorted file of facts and a manifest
diff       two snapshots in one merge pass, with balanced totals
verify     the five guarantees (clauses E.1 to E.5)
agreement  the platform's own reports against ours, item by item
errors     `EvidenceError`, `Finding`, and the one table of codes and remedies
========== =======================================================================================================

Invariants: a function named `verify*` returns what it verified or raises `EvidenceError`; whatever the input, a
refusal is an `EvidenceError`; a collection of per-item refusals is a list of `Finding`, whose codes come from the
same table.
"""
