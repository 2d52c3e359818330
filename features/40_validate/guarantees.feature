@phase_4 @evidence @reversible
Feature: Evidence continuity guarantees
  Guide, Evidence Continuity Guarantees: E.1 to E.8. Nothing is changed. Contents were hashed and signatures
  verified by the harness when each snapshot was taken (1.1c, 4.1a). 4.1a fails on the first broken guarantee; here
  each is verified once more by itself, the tree and the log as they are by now.

  Background:
    Given the baseline of this upgrade is sealed
    And the second snapshot of this upgrade is taken

  Rule: OCI digests are unchanged

    @clause_E_1
    Scenario: Every image manifest still hashes to its digest
      When the manifests as the second snapshot hashed them from the store are compared with the baseline
      Then none differs from the baseline

  Rule: SBOM contents are unchanged

    @clause_E_2
    Scenario: Every SBOM has the bytes it had
      When the SBOMs as the second snapshot hashed them from the store are compared with the baseline
      Then none differs from the baseline

  Rule: Merkle roots are recomputed with a cross-reference

    @clause_E_3
    Scenario: The old and the new tree are bound together
      When the tree of every leaf schema is recomputed from the items
      Then the baseline's tree is a prefix of the tree of today
      And a leaf schema that the release brings is bound by a signed cross-reference of both recomputed roots

  Rule: Attestation signatures stay valid

    @clause_E_4
    Scenario: Every attestation verifies against the trust root held before the upgrade
      When the signatures as the second snapshot verified them are compared with the baseline
      Then none is invalid

  Rule: Log entries are immutable

    @clause_E_5
    Scenario: The transparency log only grew
      When the log's tree is recomputed from its entries
      Then the old checkpoint is consistent with the new one
      And every item's entry is included under a checkpoint signed by the log

  Rule: The platform's own verification agrees

    @clause_E_6
    Scenario: The platform's digest report agrees with E.1
      When the platform verifies all digests
      Then its report names every item with the harness's digest

    @clause_E_7
    Scenario: The platform's attestation report agrees with E.4
      When the platform verifies all attestations since the first item
      Then its counts equal the harness's own

    @clause_E_8
    Scenario: The compliance report is archived
      When the platform writes its compliance report
      Then the report is a readable document and is kept in the record
