"""Binds every feature under this folder; which of them run, and in which order, is the plan's business."""

from pytest_bdd import scenarios

scenarios(".")
