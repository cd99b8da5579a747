"""What `ddx doctor --all` judges besides: certificates, doors, stores, the clock, backups."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta

from ddx.errors import DdxError
from ddx.ports import Check

RENEW = timedelta(days=14)
"""A certificate that ends sooner should have been renewed."""
BACKUP_AGE, DRILL_AGE = timedelta(days=2), timedelta(days=14)
WAL_BYTES = 256 * 2**20
"""A log beyond it: somebody reads for hours, and SQLite cannot begin it anew."""
_CLOCK = timedelta(seconds=2)


AT_ONCE = "Renew it: the server reads the files again within ten seconds, by itself."
AT_START = "Renew it, then start `ddx up` again: MLflow reads it only at its start."


def certificate(
    name: str, where: str, ends_at: datetime, now: datetime, advice: str = AT_ONCE
) -> Check:
    """Judge a certificate."""
    left = ends_at - now
    return Check(
        name=name,
        ok=left > RENEW,
        found=f"{where} ends {ends_at:%Y-%m-%d}, in {left.days} days",
        advice=advice,
        detail={"days_left": left.days},
    )


def doors(name: str, answers: Mapping[str, int | None], *, closed: bool) -> Check:
    """Judge what was answered to somebody without a key, by path; None: nothing listens.

    `closed` says whether the settings mean it to be closed.
    """
    asked = {path: status for path, status in answers.items() if status is not None}
    if not asked:
        return Check(name=name, ok=True, found="not running, so nobody was let in")
    opened = [path for path, status in asked.items() if status < 400]
    if not closed and opened:
        return Check(name=name, ok=True, found=f"open, on this machine only: {', '.join(opened)}")
    return Check(
        name=name,
        ok=not opened,
        found=f"opened without a key: {', '.join(opened)}" if opened else "closed to strangers",
        advice="Stop it, and look which process answers there: it is meant to be closed. Where it"
        " is MLflow without the login that it had before, set mlflow_secure = true.",
    )


def issuer(where: str, keys: int, trouble: str | None) -> Check:
    """Judge whether the issuer's keys can be fetched."""
    return Check(
        name="issuer of tokens",
        ok=trouble is None,
        found=f"{where}: {trouble or f'its keys were fetched, {keys} of them'}",
        advice="Check oidc_issuer, oidc_ca_file and the way there: docs/doors.md. API keys work.",
    )


def artifacts(where: str, trouble: str | None) -> Check:
    """Judge the artifact store, by a small file that was written, read and removed."""
    return Check(
        name="artifact store",
        ok=trouble is None,
        found=f"{where}: {trouble or 'written, read back and removed'}",
        advice="Check address, credentials and rights: docs/stores.md. Delivery waits meanwhile.",
    )


def clock(now: datetime, newest: datetime | None) -> Check:
    """Judge the clock by the newest record, which cannot be of the future."""
    behind = newest - now if newest else timedelta(0)
    return Check(
        name="clock",
        ok=behind < _CLOCK,
        found=f"{now:%Y-%m-%d %H:%M:%S} UTC"
        + (f", {behind.total_seconds():.0f} s before the newest record" if behind > _CLOCK else ""),
        advice="The clock was put back: let it follow a time server (chrony, systemd-timesyncd).",
    )


def logs(sizes: Mapping[str, int]) -> Check:
    """Judge the write-ahead logs of SQLite, name -> bytes."""
    large = {name: size for name, size in sizes.items() if size > WAL_BYTES}
    shown = ", ".join(f"{name} {size // 2**20} MiB" for name, size in (large or sizes).items())
    return Check(
        name="write-ahead logs",
        ok=not large,
        found=shown or "none",
        advice="Some process keeps a database open and reads for hours: end it, then restart.",
        detail=dict(sizes),
    )


def backups(good: Mapping[str, datetime], now: datetime) -> Check:
    """Judge how old the last good backup and the last good drill are."""
    faults, shown = [], []
    for name, limit in (("backup", BACKUP_AGE), ("drill", DRILL_AGE)):
        at = good.get(name)
        shown.append(f"last good {name} {f'{at:%Y-%m-%d %H:%M} UTC' if at else 'never'}")
        if at is None or now - at > limit:
            faults.append(name)
    return Check(
        name="backups",
        ok=not faults,
        found=", ".join(shown),
        advice="Run `ddx backup PATH`, then `ddx restore PATH --drill`, by a timer.",
    )


def master_key(
    *, source: str, plain: int, wrapped: int, unfinished: int, trouble: DdxError | None
) -> Check:
    """Judge how the records' keys are kept: without a master key is a choice, half is none."""
    found, advice = f"{source}: opens {wrapped} files of keys", ""
    if trouble is not None:
        found, advice = str(trouble), trouble.advice
    elif unfinished:
        found = f"a command that was killed has left {unfinished} files"
        advice = "Repeat it: `ddx keys master status` names them."
    elif source and plain:
        found = f"{source}: {plain} of {plain + wrapped} files of keys are plain"
        advice = "Stop the server and the deliverer, then run `ddx keys master wrap`."
    elif not source:
        found = (
            "none: the records' keys are plain in ddx_data/keys. A master key kept elsewhere would"
            " wrap them: docs/security.md"
        )
    return Check(name="master key", ok=not advice, found=found, advice=advice)
