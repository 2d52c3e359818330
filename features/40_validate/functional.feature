@phase_4 @reversible
Feature: Functional validation
  Guide 4.2. Nothing is changed but what the platform's own tests write, which is new evidence and accounted for.

  Background:
    Given the load runs against the public host

  @clause_4_2a
  Scenario: The integration tests pass
    When the platform runs its integration tests
    Then at least one integration test ran and none failed
    And the harness's own round trip through the public host succeeds
    And every acknowledged write is there exactly once

  @clause_4_2b
  Scenario: A dry run of a scan works and writes nothing
    When the platform scans the target's test image as a dry run
    Then the scan answers for that image as a dry run with its components
    And neither a scan nor evidence of that image was added to the database

  @clause_4_2c
  Scenario: Attestations are verified and a forged one is rejected
    When the platform verifies the target's test bundle and a tampered copy of it
    Then the platform accepts the bundle and rejects the copy
    And the harness accepts the bundle and rejects the copy
