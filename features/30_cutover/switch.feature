@phase_3 @compensable
Feature: The public route names green
  Guide 3.2, deviations F.3 and F.7. In a gradual cutover this promotes the public route once green has all the traffic;
  in an instant one it is the cutover. Undone by: restore, which sends every request back to blue (R.1).

  Background:
    Given the load runs against the public host
    And green is healthy and its route to the public host is sound
    And no id that the database is about to give is in use

  @clause_3_2
  Scenario: The public route is switched to green under load
    When the public route is switched to green and baked for the policy's time
    Then every sampled request is served by green
    And no request has failed
    And every acknowledged write is there exactly once
    And every gate of the policy passes at 100 percent
    And one colour alone stands behind the public route
