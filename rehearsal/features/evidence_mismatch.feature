Feature: An evidence mismatch is recognised, and an index is mended over intact content alone
  Guide, Common Issues (T.3), on a disposable target alone. The evidence is altered and put back; what the platform's command mends is
  judged by the harness's own verification, never by the command's answer.

  Background:
    Given the baseline of the evidence is taken

  Rule: T.3 After the index is rebuilt the check passes only if the content is intact

    @clause_T_3
    Scenario: A damaged index is recognised
      Given a digest in the index is altered
      When continuity is verified
      Then the altered item is refused
      And the damaged index is the cause
      And the guide's remedy is named: stella evidence reindex

    @clause_T_3
    Scenario: A rebuilt index over intact content passes
      Given a digest in the index is altered
      When the index is rebuilt
      Then continuity holds

    @clause_T_3
    Scenario: Rebuilding the index does not hide altered content
      Given the content of an item is altered
      When the index is rebuilt
      Then the altered item is refused
      And altered evidence is the cause
