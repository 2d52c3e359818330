@phase_0 @reversible
Feature: The site has what a blue/green upgrade needs
  Guide, Infrastructure Requirements: P.1 to P.5. Nothing is changed but one marker object, which is removed again.
  P.2 to P.4 look at the values green will get; the same is asserted of the running green in 2.3a.

  @clause_P_1
  Scenario: Blue and green have the namespaces that the target names
    Given the operator's host has the commands of the runbook
    When the namespaces of the two colours are looked up
    Then blue's namespace exists and serves the public host
    And green's namespace is absent or belongs to this upgrade

  @clause_P_2
  Scenario: Both colours use one database
    When the database that each colour is given is asked who it is
    Then both answers name the same server and the same database
    And the database records its migrations

  @clause_P_3
  Scenario: Each colour has a cache of its own
    When the cache that each colour is given is asked who it is
    Then the two answers differ
    And green's cache is empty

  @clause_P_4
  Scenario: Both colours use one object store
    When a marker object is written with blue's credentials, read back by both colours and removed
    Then green's credentials read the same bytes
    And blue's service reads the same bytes

  @clause_P_5
  Scenario: A load balancer routes the public traffic
    When the public host is asked 20 times
    Then every answer succeeds and names the colour that served it
    And the colour that serves is the one that the public route names
