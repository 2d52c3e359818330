"""The record as something to be proven: sealed, signed, attested, and verified by whoever holds the trust root.

`keys` holds who signs and who is trusted; `manifest`, `statements` and `seal` make what is signed; `verify` reads a
record as a stranger would, offline, and names whatever is not as it was sealed.
"""
