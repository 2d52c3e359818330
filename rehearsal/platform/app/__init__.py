"""The processes of the stand-in platform: web, worker, migrations, and the seeding of a site with history.

Invariants: processes share nothing but the database, the cache and the store; both releases are this one code, and
what differs between them is decided by the release and the schema found, never by the colour.
"""
