"""A report as one HTML file with its charts, which needs no network and no script.

pygal is loaded when it is needed.
"""

from ddx.adapters.report_page.page import write

__all__ = ["write"]
