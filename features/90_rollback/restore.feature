@phase_rollback @rollback @irreversible
Feature: The database goes back
  Guide, Rollback Procedures, R.2, deviation F.10. Runs only where a migration that blue cannot work with was applied.
  Undone by: the replaced database is kept under a dated name; renaming it back loses what is written after the swap.

  Background:
    Given the database needs to be restored before blue can work
    And the restore is allowed by those who must allow it

  @clause_R_2d
  Scenario: The database is restored beside the live one and takes its place
    When the backup is restored beside the live database, given what was made since, and put in its place
    Then the backup held row for row what was dumped
    And every row of the replaced database is there, but for what a person gave up
    And no breaking migration is left and the next ids are free
    And the transparency log holds every checkpoint of before
    And green reads and writes on the restored database
    And the replaced database is kept under a dated name
