@phase_rollback @rollback @compensable
Feature: Rollback after the cutover
  Guide, Rollback Procedures, R.2a, R.2b, R.2c and R.2e, deviation F.12. Runs when a person asks for the way back. Undone by: a new upgrade.

  Rule: Nobody goes back without knowing what that means

    @clause_R_2a
    Scenario: The impact is assessed
      When the evidence is verified from the baseline to now
      Then every guarantee was looked at and the items add up
      And the platform counts what the harness counts
      And the impact is in the record

    @clause_R_2b
    Scenario: It is decided whether the database must be restored
      When the applied migrations are read and blue is tried on the schema
      Then what the migrations declare agrees with what blue does
      And no id that the next writer would be given is in use

  Rule: Blue serves only as the release that it was

    @clause_R_2e
    Scenario: Blue is deployed again
      When blue is deployed again at the release before the upgrade
      Then blue is at the release before the upgrade
      And blue runs the images that it ran before the upgrade
      And blue is available and reads and writes on the present schema

  Rule: What green made is kept

    @clause_R_2c
    Scenario: Evidence made on green stays valid
      When the evidence is verified after the way back
      Then the evidence of the baseline is whole
      And the evidence made while green could serve is all there and valid
      And nothing else differs from before green came but what a rollback leaves
