@phase_5 @reversible
Feature: Observation period
  Guide 5.1, deviation F.14. Nothing is changed.

  Background:
    Given the load runs against the public host

  @clause_5_1
  Scenario: Blue stays until the observation window has ended
    When the observation window of the policy has passed under watch
    Then every gate passed over the whole window and in every live sample
    And the metrics prove the whole window without a gap
    And blue's deployments are still there to go back to
    And the observation is recorded as complete
