@phase_5 @irreversible
Feature: Blue is decommissioned
  Guide 5.2, deviations F.12 and F.15. Not undone by traffic alone: blue would have to be installed again (R.2e).

  Background:
    Given the observation window has been proven
    And this point of no return is approved
    And the load runs against the public host

  @clause_5_2a
  Scenario: Blue's release is removed
    Given blue's queue is drained and proven empty
    And green serves every request at this moment
    And nothing of the load has failed or been lost until now
    When blue's release is uninstalled
    Then the release is gone
    And every sampled request is served by green
    And no request has failed
    And every acknowledged write is there exactly once

  @clause_5_2b
  Scenario: Blue's namespace is cleaned up without cutting the route
    When blue's namespace is deleted unless something in it is in use
    Then the namespace is there exactly if something in it is in use
    And none of blue's workloads is left
    And every sampled request is served by green
