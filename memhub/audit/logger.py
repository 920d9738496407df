"""The structlog side of the log: an explicit chain, and no global configuration."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import structlog

from memhub.audit.chain import UnfitRecord
from memhub.audit.schema import SCHEMA_VERSION

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from structlog.typing import Processor

    from memhub.audit.chain import Chain


class RecordLogger(structlog.BoundLoggerBase):
    """A bound logger with one method and no levels: an audit record is not optional."""

    def record(self, event: Mapping[str, Any]) -> None:
        """Run `event` and the bound context through the processors, and pass on the line."""
        line: Any = {**self._context, **event}
        try:
            for process in self._processors:
                line = process(self._logger, "record", line)
        except structlog.DropEvent as error:
            raise UnfitRecord("a processor dropped an audit record", 0) from error

        self._logger.record(line)


def wrap(chain: Chain, processors: Iterable[Processor] = ()) -> RecordLogger:
    """Build the logger that ends in `chain`.

    Args:
        chain: stamps, renders and takes the lines.
        processors: run before the stamp, in order; they may add, change and remove fields.
    """
    logger = structlog.wrap_logger(
        chain,
        processors=[*processors, chain.stamp, chain.render],
        wrapper_class=RecordLogger,
        context_class=dict,
        cache_logger_on_first_use=True,
        # placeholders: the stamp fills them in, and they keep these members first in the line
        v=SCHEMA_VERSION,
        seq=0,
        prev="",
    )
    bound: RecordLogger = logger.bind()

    return bound
