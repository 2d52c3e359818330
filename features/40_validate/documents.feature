@phase_4 @compensable
Feature: Documents and archive
  Guide 4.3. Undone by: the previous text of both documents, which is kept in the record.

  @clause_4_3a
  Scenario: The current version is updated
    When the document of the current version is updated
    Then it names the new release and its difference is in the record

  @clause_4_3b
  Scenario: The upgrade is recorded in the changelog
    When the upgrade is added to the changelog
    Then it names the new release and its difference is in the record

  @clause_4_3c
  Scenario: The upgrade's artifacts are archived
    When the artifacts of the record are archived in the store
    Then every artifact read back from the archive has the digest it had
    And every artifact is kept for the policy's retention or the record says that the archive has no lock
