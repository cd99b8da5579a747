"""The folder of one evaluation: results, tables, plots, report."""

from ddx.adapters.evaluation_files.pheval import write_pheval
from ddx.adapters.evaluation_files.results import Results, read_results
from ddx.adapters.evaluation_files.tables import write_cases, write_summary

__all__ = ["Results", "read_results", "write_cases", "write_pheval", "write_summary"]
