@phase_3 @compensable
Feature: Gradual cutover
  Guide 3.1 and 3.3, deviations F.2, F.5, F.6 and F.16. Undone by: restore, which sends every request back to blue (R.1, F.4).

  Background:
    Given the load runs against the public host
    And green is healthy and its route to the public host is sound
    And no id that the database is about to give is in use
    And green has at least blue's capacity

  Rule: A weight is kept only while green does well

    Scenario Outline: <weight> percent of the traffic moves to green
      When the weight is set to <weight> percent and baked for the policy's time
      Then the share served by green lies within its interval at <weight> percent
      And no request has failed
      And every gate of the policy passes at <weight> percent

      @clause_3_1a
      Examples: the first step
        | weight |
        | 10     |

      @clause_3_1b
      Examples: a quarter
        | weight |
        | 25     |

      @clause_3_1c
      Examples: a half
        | weight |
        | 50     |

      @clause_3_1d
      Examples: all of it
        | weight |
        | 100    |
