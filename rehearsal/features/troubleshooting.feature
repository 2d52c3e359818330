Feature: What the guide's troubleshooting table names is recognised on a site that has it
  Guide, Common Issues and Support Escalation: T.1, T.2, T.4 and S.1 to S.3, on a disposable target alone. Each trouble is made on
  the real site, and taken back after its scenario; green is installed on the way.

  Rule: T.1 A pod that does not leave its init step is told with who and what to raise

    @clause_T_1
    Scenario: Another session holds the migration lock
      Given another session holds the migration lock
      When green is installed
      Then the installation fails, and a migration that waits is the cause
      And the guide's remedy is named: migrationTimeoutSeconds

    @clause_T_1
    Scenario: The remedy helps
      Given nobody holds the migration lock
      When green is installed
      Then every pod of green is ready

  Rule: T.2 A pod whose ready probe fails is told with what it cannot reach

    @clause_T_2
    Scenario: Green's path to the database is cut
      Given every pod of green is ready
      And green's path to the database is cut
      When green is examined
      Then its database is the cause
      And the guide's remedy is named: database connectivity

    @clause_T_2
    Scenario: Once the path is mended nothing is found
      Given every pod of green is ready
      When green is examined
      Then no cause is found

  Rule: T.4 Requests that reach nobody are told with the labels that differ

    @clause_T_4
    Scenario: The public route names a Service that selects no pod
      Given green's Service selects no pod
      And somebody lets the public route name it all the same
      When the site is examined
      Then the public requests fail
      And the selector of green's Service is the cause
      And the guide's remedy is named: service selector labels

  Rule: S A failure is escalated in one go

    @clause_S_1 @clause_S_2 @clause_S_3
    Scenario: Green fails every request and support is needed
      Given green's Service selects no pod
      And somebody lets the public route name it all the same
      When the failure is escalated
      Then blue serves every request
      And the diagnostics of both colours are in the record
      And one archive is ready to send, and lists all that is in it
      And no secret of the site is in any of them
