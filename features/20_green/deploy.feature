@phase_2 @compensable
Feature: Green is deployed
  Guide 2.1. Undone by: uninstalling green's release; no traffic depends on it yet.

  Background:
    Given the load runs against the public host
    And the baseline of this upgrade is sealed

  @clause_2_1a
  Scenario: The new release is installed beside blue
    Guide 2.1, deviations F.1 and F.13.
    Given the state of the site before green comes is kept
    When the new release is installed as green and waited for
    Then the release is deployed with the wanted tag
    And every running image of green has a digest that the target allows

  @clause_2_1b
  Scenario: Green's pods run
    When green's pods are observed
    Then every pod is ready without a restart in green's namespace
    And every running image of green has a digest that the target allows
    And the public host is still served by blue alone
