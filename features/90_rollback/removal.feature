@phase_rollback @rollback @compensable
Feature: Green is removed after the way back
  Guide 2.1, taken back on request, with deviation F.15 applied to green. Undone by: installing green again (2.1a).

  Background:
    Given nobody is sent to green and its queue is empty

  @clause_R_3
  Scenario: Green is removed on request
    When green's release is uninstalled
    Then green's release and its pods are gone
    And every sampled request is served by blue
