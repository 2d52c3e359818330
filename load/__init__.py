"""Locust users and shapes."""
