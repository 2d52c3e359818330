"""Cutover: performs a blue/green upgrade of the Stella Ops platform and proves it."""
