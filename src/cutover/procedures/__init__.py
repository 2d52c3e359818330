"""What each clause does and observes, over the site's drivers.

One module a runbook noun. A procedure performs one action of the guide, or reads one fact from an independent source,
and returns plain
data; the steps compare. Nothing here knows pytest, and nothing here decides the verdict.
"""
