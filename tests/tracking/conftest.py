"""Run folders with records, as the tests of the leaderboard have them."""

from tests.leaderboard.conftest import record, runs, write_run

__all__ = ["record", "runs", "write_run"]
