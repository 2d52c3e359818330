"""What every part of the stand-in platform shares: trees, signatures, evidence, schema, store.

Invariants: nothing here starts a process or a loop; everything made here is a function of its arguments
(no clock, no random numbers), so that the same scan gives the same bytes on every attempt.
"""
