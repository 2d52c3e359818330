Feature: The guide's own forms of the cutover fail, and the runbook's do not
  Deviations F.2, F.3 and F.4, on a disposable target alone. Green is installed and healthy beside blue, which serves; each scenario ends
  with the routes as they were.

  Background:
    Given green is ready beside blue, which serves every request

  Rule: F.2 A canary works beside the public route only

    @nginx
    Scenario: The guide's canary is ignored in silence
      When the guide's canary is made in green's namespace with weight 100
      Then every sampled request is served by blue

    Scenario: The runbook's weight is what it says
      When the runbook sets the weight to 100 percent
      Then every sampled request is served by green

  Rule: F.3 A route names only a Service that its namespace has

    @nginx @gateway
    Scenario: The guide's patch of the public route takes the site down
      When the public route is patched to green's Service as the guide does
      Then no sampled request is served

    Scenario: The runbook's switch sends every request to green
      When the runbook switches the public route to green
      Then every sampled request is served by green

    Scenario: The runbook refuses a green without anybody behind its Service
      Given green's Service has nobody behind it
      When the runbook is asked to switch the public route to green
      Then the runbook refuses and changes nothing
      And every sampled request is served by blue

  Rule: F.4 The way back takes the canary away

    @nginx
    Scenario: The guide's rollback leaves requests on green
      Given the runbook has moved half of the requests to green
      When the public route alone is patched to blue as the guide's rollback does
      Then part of the sampled requests is served by green

    Scenario: The runbook's rollback sends every request to blue
      Given the runbook has moved half of the requests to green
      When the runbook restores blue
      Then every sampled request is served by blue
