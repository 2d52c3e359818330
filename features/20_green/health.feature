@phase_2 @reversible
Feature: Green is healthy before any traffic
  Guide 2.3. Nothing is changed.

  Background:
    Given the load runs against the public host

  @clause_2_3a
  Scenario: Green is examined in full
    Also asserts P.2, P.3 and P.4 of the running green.
    When the platform examines green in full
    Then the platform reports every check of green as good
    And every deployment of green is available and every pod of it ready
    And the running green shares database and store with blue and has its own cache

  @clause_2_3b
  Scenario: Green passes the smoke tests
    When the platform runs its smoke tests on green
    Then at least one smoke test ran and none failed
    And the harness's own probes of green succeed without the public host
