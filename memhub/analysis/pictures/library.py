"""Vega, Vega-Lite and Vega-Embed as one script, as vl-convert has them with it."""

from __future__ import annotations

from memhub.analysis.extra import require_package


def read_library() -> str:
    """The script, which defines `vegaEmbed`.

    Raises:
        AnalysisNotInstalled: the extra `report` is missing.
    """
    script: str = require_package("vl_convert", "report").javascript_bundle()

    # A script element ends at this, wherever it stands; in JavaScript `<\/` means the same
    return script.replace("</script", "<\\/script").replace("<!--", "<\\!--")
