@phase_4 @reversible
Feature: Evidence continuity
  Guide 4.1. Nothing is changed.

  Background:
    Given the load runs against the public host
    And the baseline of this upgrade is sealed

  @clause_4_1a
  Scenario: Nothing was lost or altered
    When the harness takes a second snapshot and verifies it against the baseline, and the platform verifies continuity
    Then the evidence balances against the baseline with nothing missing and nothing changed
    And none of the five guarantees is broken
    And every item made since the baseline is accounted for
    And the harness and the platform agree on continuity

  @clause_4_1b
  Scenario: The platform's audit report covers the whole upgrade
    Guide 4.1, deviation F.9: since the start of this upgrade, not one hour ago.
    When the platform writes its audit report since the start of this upgrade
    Then the report is a readable document and is kept in the record
