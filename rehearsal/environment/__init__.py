"""The embedded environment's parts and their life."""
