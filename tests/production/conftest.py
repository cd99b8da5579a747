"""Suites that take long or need servers of their own: `scripts/test-production` runs them."""

from __future__ import annotations

import os

collect_ignore_glob = [] if os.environ.get("TEST_PRODUCTION") else ["test_*.py"]
