"""What libraries and the service log with `logging`, as lines of the command."""

from __future__ import annotations

import logging
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


class _Reporter(logging.Handler):
    """Hands each warning on in lines, with the traceback of a fault behind it.

    Args:
        report: takes a line.
    """

    def __init__(self, report: Callable[[str], None]) -> None:
        super().__init__(logging.WARNING)
        self._report = report

    def emit(self, record: logging.LogRecord) -> None:
        try:
            for line in self.format(record).splitlines():
                self._report(line)
        except Exception:  # noqa: BLE001 - what cannot be reported must not end who logs it
            self.handleError(record)


@contextmanager
def report_logged(report: Callable[[str], None]) -> Iterator[None]:
    """Have what is logged reported while the block runs, instead of written as it is.

    Args:
        report: takes a line, without its end.
    """
    handler, root = _Reporter(report), logging.getLogger()
    root.addHandler(handler)
    try:
        yield
    finally:
        root.removeHandler(handler)
