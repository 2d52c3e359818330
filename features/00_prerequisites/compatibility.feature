@phase_0 @reversible
Feature: The upgrade path is a supported one
  Guide, Version Compatibility: P.6 and P.7. Nothing is changed.

  @clause_P_6
  Scenario: The running release is the one that the upgrade starts from
    When the platform is asked for its version
    Then the version is the release that the upgrade starts from
    And blue's image tag, labels and version endpoint say the same

  @clause_P_7
  Scenario: The compatibility matrix allows the upgrade
    When the platform checks the path to the release that the upgrade goes to
    Then the path starts at the running release and ends at the wanted one
    And a path that skips a release is refused
