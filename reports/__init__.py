"""Builders of the upgrade record, from the record folder alone."""
