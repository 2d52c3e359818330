"""A stand-in for the Stella Ops platform, in two releases."""
