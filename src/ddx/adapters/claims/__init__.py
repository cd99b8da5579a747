"""Claims of trackers that all processes of a deployment share: in a file, or in PostgreSQL.

The PostgreSQL one needs psycopg, so it is imported by who wants it.
"""

from ddx.adapters.claims.sqlite import SqliteClaims

__all__ = ["SqliteClaims"]
