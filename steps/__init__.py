"""Step definitions of the runbook, by runbook noun."""
