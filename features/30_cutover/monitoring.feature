@phase_3 @reversible
Feature: Monitoring during the cutover
  Guide 3.3, deviations F.5 and F.6. Nothing is changed. Each metric is measured afresh with all the traffic on green, and every sample
  taken at every weight is looked at again.

  Background:
    Given the load runs against the public host

  Rule: A metric without enough data is never good

    Scenario Outline: The <metric> of green is within the policy's limit
      When the <metric> of green is measured
      Then the measurement of the <metric> passes with enough samples
      And no sample of the <metric> during the cutover was worse than a pass
      And the load generator's own measurements do not contradict the <metric>

      @clause_3_3a
      Examples: error rate
        | metric      |
        | error ratio |

      @clause_3_3b
      Examples: latency
        | metric      |
        | latency p99 |

      @clause_3_3c
      Examples: evidence operations
        | metric                   |
        | evidence operations rate |

      @clause_3_3d
      Examples: attestations
        | metric                    |
        | attestation success ratio |
