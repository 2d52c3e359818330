@phase_rollback @rollback @compensable
Feature: Immediate rollback
  Guide, Rollback Procedures, R.1, deviation F.4. Runs when a gate or a clause failed after traffic had moved, and when a
  person asks for the way back. Undone by: a new upgrade.

  @clause_R_1
  Scenario: Every request goes back to blue
    When the traffic is restored to blue
    Then every sampled request is served by blue within the policy's bound
    And one colour alone stands behind the public route
    And the public route names blue
    And no document of the site says that this upgrade is in effect
    And nothing beside the evidence differs from before green came but what a rollback leaves
