"""The folder of one evaluation: results, tables, plots, report."""

from ddx.adapters.evaluation_files.pheval import write_pheval
from ddx.adapters.evaluation_files.plots import draw
from ddx.adapters.evaluation_files.report import write_report
from ddx.adapters.evaluation_files.results import Results, read_results
from ddx.adapters.evaluation_files.sweep_plots import draw_sweep
from ddx.adapters.evaluation_files.sweeps import read_sweep, write_sweep, write_table
from ddx.adapters.evaluation_files.tables import HEAD, lines, write_cases, write_summary

__all__ = [
    "HEAD",
    "Results",
    "draw",
    "draw_sweep",
    "lines",
    "read_results",
    "read_sweep",
    "write_cases",
    "write_pheval",
    "write_report",
    "write_summary",
    "write_sweep",
    "write_table",
]
