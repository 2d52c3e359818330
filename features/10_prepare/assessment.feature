@phase_1 @reversible
Feature: Environment assessment
  Guide 1.1. Nothing is changed.

  @clause_1_1a
  Scenario: Blue is healthy
    When the platform examines blue in full
    Then the platform reports every check of blue as good
    And every deployment of blue is available and every pod of it ready
    And database, cache and store answer the harness itself

  @clause_1_1b
  Scenario: Blue's migrations are complete
    When the platform lists the migrations
    Then the list equals the migration table
    And no migration of blue's release is pending

  @clause_1_1c
  Scenario: The evidence baseline is taken
    Guide 1.1, deviation F.8: later items are accounted for from a watermark.
    When the harness takes its own snapshot of all evidence and the platform verifies it
    Then every item's content has the digest that the database declares
    And the evidence tree and the transparency log are what the harness recomputes from them
    And the harness and the platform agree item by item
    And the snapshot is sealed as this upgrade's baseline
