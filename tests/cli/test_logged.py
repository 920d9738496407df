"""What is logged with `logging` while the service runs becomes lines of the command."""

from __future__ import annotations

import logging

from memhub.cli.logged import report_logged


def test_a_warning_and_a_fault_with_its_traceback_are_reported_in_lines() -> None:
    lines: list[str] = []
    log = logging.getLogger("memhub.service")
    with report_logged(lines.append):
        log.warning("a connection could not be taken: %s", "no files left")
        log.info("nobody wants this")
        try:
            raise KeyError("x")
        except KeyError as error:
            log.error("a connection of %s failed", "pid 7", exc_info=error)

    log.warning("not any more")
    assert lines[:2] == [
        "a connection could not be taken: no files left",
        "a connection of pid 7 failed",
    ]
    assert lines[2].startswith("Traceback")
    assert lines[-1] == "KeyError: 'x'"


def test_what_cannot_be_formatted_ends_nobody() -> None:
    lines: list[str] = []
    with report_logged(lines.append):
        logging.raiseExceptions, before = False, logging.raiseExceptions
        try:
            logging.getLogger("memhub.service").warning("%d", "no number")
        finally:
            logging.raiseExceptions = before

    assert lines == []
