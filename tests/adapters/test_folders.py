"""Private folders, logs that begin anew, and what is deleted."""

from __future__ import annotations

from pathlib import Path

from ddx.adapters import folders


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


def test_folders_are_made_private_and_open_ones_are_narrowed(tmp_path: Path) -> None:
    open_one, file = tmp_path / "open", tmp_path / "open" / "mlflow.db"
    open_one.mkdir(mode=0o755)
    open_one.chmod(0o755)
    file.write_text("")
    file.chmod(0o644)

    folders.make_private([open_one, tmp_path / "new" / "inner"], [file, tmp_path / "absent"])

    assert mode(open_one) == 0o700
    assert mode(tmp_path / "new" / "inner") == 0o700
    assert mode(file) == 0o600
    assert not (tmp_path / "absent").exists()


def test_what_others_may_read_is_named_with_its_mode(tmp_path: Path) -> None:
    shut, wide = tmp_path / "shut", tmp_path / "wide"
    for path, bits in ((shut, 0o600), (wide, 0o640)):
        path.write_text("")
        path.chmod(bits)

    assert folders.open_to_others([shut, wide, tmp_path / "absent"]) == [f"{wide} (640)"]


def test_a_log_begins_anew_and_three_older_ones_stay(tmp_path: Path) -> None:
    log = tmp_path / "server.log"

    for text in "abcde":
        folders.rotate(log)
        log.write_text(text)

    found = {path.name: path.read_text() for path in tmp_path.iterdir()}
    assert found == {
        "server.log": "e",
        "server.log.1": "d",
        "server.log.2": "c",
        "server.log.3": "b",
    }


def test_the_end_of_a_log_is_quoted_and_an_absent_log_says_nothing(tmp_path: Path) -> None:
    log = tmp_path / "server.log"
    log.write_text("one\ntwo\nthree\nfour\n")

    assert folders.last_lines(log, 2) == f"  {log} ends:\n  three\n  four"
    assert folders.last_lines(tmp_path / "absent") == ""


def test_sizes_and_deletion_reach_into_folders(tmp_path: Path) -> None:
    inner = tmp_path / "a" / "b"
    inner.mkdir(parents=True)
    (inner / "file").write_text("12345")
    (tmp_path / "a" / "other").write_text("678")

    assert folders.bytes_in(tmp_path / "a") == 8
    assert folders.bytes_in(inner / "file") == 5
    assert folders.bytes_in(tmp_path / "absent") == 0
    folders.delete(tmp_path / "a")
    folders.delete(tmp_path / "a")
    assert not (tmp_path / "a").exists()


def test_deleting_a_link_leaves_what_it_points_to(tmp_path: Path) -> None:
    kept, link = tmp_path / "kept", tmp_path / "link"
    kept.mkdir()
    (kept / "file").write_text("")
    link.symlink_to(kept)

    folders.delete(link)

    assert not link.exists()
    assert (kept / "file").exists()
