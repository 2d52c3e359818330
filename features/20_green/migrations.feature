@phase_2 @compensable
Feature: The schema is expanded
  Guide 2.2. Undone by: nothing needs undoing; category A only adds, and blue is proven to work on it.

  Background:
    Given the load runs against the public host

  @clause_2_2a
  Scenario: Only category A migrations run
    When the platform runs the migrations of category A
    Then the migration table holds category A of the new release
    And no migration of category B is applied
    And blue still reads and writes on the new schema

  @clause_2_2b
  Scenario: The migrations of the new release are in place
    When the platform lists the migrations of the new release
    Then the list equals the migration table
    And every category A migration of the new release is applied and none of category B
