@phase_contract @irreversible
Feature: The schema is contracted
  Guide 2.2, category B. Asked for by a command of its own, once nothing needs the old schema any more.
  Undone by: restoring the database beside and carrying over what was made since (R.2d).

  Background:
    Given the observation window has been proven
    And nothing of blue runs and green alone serves
    And the contraction is allowed by those who must allow it

  @clause_C_1
  Scenario: Category B is applied after a backup that is proven to restore
    When the platform contracts the schema behind a proven backup
    Then the backup right before it restores to what was dumped
    And the migration table holds category B of the new release
    And green reads and writes on the contracted schema
    And every sampled request is served by green
