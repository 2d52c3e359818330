"""The runbook as plain objects: catalogue, plan, journal, verdict, and the protocols the site implements."""
