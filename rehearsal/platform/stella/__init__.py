"""The operator's command of the stand-in platform: every `stella` command that the guide names.

Each command answers with exactly one JSON document under ``--json`` (schemas in ``contract/stella``) and with tables
otherwise. Exit codes: 0 ok, 1 not ok, 2 usage, 3 a part of the site could not be reached.

Invariants: only `migrations-run`, `reindex`, `scan` without ``--dry-run`` and `test integration` write to the site;
commands share no state; a module that costs more than a few milliseconds is imported by the command that needs it.
"""
