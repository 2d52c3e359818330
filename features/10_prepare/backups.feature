@phase_1 @reversible
Feature: Backups that restore
  Guide 1.2. Undone by: deleting the backup files; scratch copies are removed by the scenarios themselves.

  @clause_1_2a
  Scenario: The database is backed up
    Guide 1.2, deviation F.10: restored beside the live database, never over it.
    When the database is dumped at one snapshot
    Then the archive restores into a scratch database
    And row counts and checksums equal those taken in the snapshot
    And the copy in the record is encrypted and decrypts to that archive

  @clause_1_2b
  Scenario: The evidence bundles are exported
    When the platform exports all evidence bundles
    Then every bundle of the baseline is in the export with the baseline's digest

  @clause_1_2c
  Scenario: The configuration is backed up
    When blue's configuration is backed up
    Then the backup applied to a scratch namespace holds the same data

  @clause_1_2d
  Scenario: The secrets are backed up encrypted
    Guide 1.2, deviation F.11: never in plain text.
    When blue's secrets are backed up for the recipient of the target
    Then the file is encrypted, private to its owner and holds no secret in plain text
    And the decrypted backup applied to a scratch namespace holds the same data
