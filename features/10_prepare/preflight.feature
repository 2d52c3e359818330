@phase_1 @reversible
Feature: Pre-flight checklist
  Guide 1.3. Nothing is changed. Every line is observed now, not remembered.

  @clause_1_3a
  Scenario: All services are healthy at this moment
    When the health of blue is observed
    Then every deployment of blue is available and every pod of it ready
    And the public host answers from blue

  @clause_1_3b
  Scenario: No scan or attestation is in progress
    When the harness waits for active scans to finish within the policy's bound
    Then neither the database nor the queue knows of an active scan

  @clause_1_3c
  Scenario: The queues are empty and stay empty
    When the queue depth is read twice from the cache itself
    Then both readings are zero

  @clause_1_3d
  Scenario: The backups of this upgrade are complete and recent
    When the backups in the record are read back
    Then all four backups are there with the digests that were recorded
    And none is older than the policy allows

  @clause_1_3e
  Scenario: The evidence baseline is captured
    When the baseline in the record is read back
    Then its digest is the one in the journal

  @clause_1_3f
  Scenario: The maintenance window is approved and announced
    When the approvals of this plan are read
    Then they name who asked, who approved, to whom it was announced and through which channel
    And as many people as the policy wants have signed this very plan, and its points of no return
    And the present moment lies inside the window
