"""Exit codes, and how an error is said on a terminal."""

from __future__ import annotations

import click

from ddx.errors import DdxError

EXIT_OK = 0
EXIT_NOT_OK = 1
"""The command worked and what it looked at is not as it should be."""
EXIT_USAGE = 2
"""click's own: an option or argument that the command does not take."""
EXIT_INTERRUPTED = 130
"""Ctrl-C, as a shell counts it."""

EXIT_CODE: dict[str, int] = {
    "bad_settings": 3,
    "port_in_use": 4,
    "not_ready": 5,
    "missing_extra": 6,
    "files_in_use": 7,
    "bad_pack": 8,
    "already_running": 9,
    "invalid_request": 10,
    "body_too_large": 10,
    "unsupported_media_type": 10,
    "request_timeout": 10,
    "unknown_model": 11,
    "unknown_prompt": 12,
    "model_not_configured": 13,
    "tracker_reused": 14,
    "not_found": 15,
    "erased": 16,
    "unfinished": 17,
    "on_hold": 18,
    "unknown_key": 19,
    "model_error": 20,
    "model_deadline": 21,
    "interrupted": 22,
    "overloaded": 23,
    "unauthenticated": 24,
    "forbidden": 25,
    "rate_limited": 23,
    "keys_unavailable": 26,
    "unsafe_address": 27,
    "access_trail_unavailable": 28,
    "issuer_unavailable": 29,
    "journal_unavailable": 30,
    "journal_full": 31,
    "backlog_full": 32,
    "journal_in_use": 33,
    "journal_damaged": 34,
    "already_finished": 35,
    "bad_checkpoint": 36,
    "master_key_unavailable": 37,
    "wrong_master_key": 38,
    "keys_in_use": 39,
    "mlflow_unavailable": 40,
    "delivery_refused": 41,
    "mlflow_answer_lost": 40,
    "mlflow_schema_untested": 42,
    "traces_unavailable": 44,
    "delivery_in_use": 43,
    "claims_unavailable": 45,
    "tracker_unsettled": 46,
    "bad_knowledge": 50,
    "knowledge_in_use": 51,
    "knowledge_unreachable": 52,
    "bad_cases": 60,
    "bad_results": 61,
    "server_unreachable": 62,
    "evaluation_stopped": 63,
    "not_agreed": 64,
    "output_refused": 65,
    "nothing_learned": 66,
    "ledger_unavailable": 67,
    "bad_question": 68,
    "bad_program": 53,
    "bad_backup": 54,
    "move_refused": 55,
    "archive_damaged": 56,
    "cluster_unavailable": 58,
    "node_refused": 59,
    "internal": 70,
}
"""Exit code of each error code of errors.py."""

_MEANING = {
    EXIT_OK: "done",
    EXIT_NOT_OK: "something is not ok",
    EXIT_USAGE: "wrong usage",
    EXIT_INTERRUPTED: "stopped by Ctrl-C",
    10: "invalid request",
}


def report(error: DdxError) -> int:
    """Say the error in one sentence with its advice; return its exit code."""
    return report_failure(error.code, str(error), error.advice)


def report_failure(code: str, message: str, advice: str) -> int:
    """Say a failure that a record holds; return its exit code."""
    click.echo(f"error: {message}", err=True)
    if advice:
        click.echo(f"advice: {advice}", err=True)
    return EXIT_CODE.get(code, EXIT_CODE["internal"])


def report_unforeseen() -> int:
    """End after an error that nobody foresaw; its traceback is already on the terminal."""
    return report_failure(
        "internal",
        "this program met an error that it did not foresee.",
        "Report the lines above, without patient data.",
    )


def epilog(example: str, *codes: int) -> str:
    """Return the end of a command's help: an example, and the exit codes it can give."""
    lines = [f"  {code:<4}{_meaning(code)}" for code in sorted({EXIT_OK, EXIT_USAGE, *codes})]
    # click folds lines into paragraphs, except after a \b.
    shown = "\n".join(f"  {line}" for line in example.splitlines())
    return "\b\nExample:\n" + shown + "\n\n\b\nExit codes:\n" + "\n".join(lines)


def _meaning(code: int) -> str:
    named = (name for name, number in EXIT_CODE.items() if number == code)
    return _MEANING.get(code) or next(named).replace("_", " ")
