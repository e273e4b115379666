"""What compiling did: a bundle, and what each pass changed in its graphs."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from stagewhisper.bundle import Bundle
from stagewhisper.compiler.report import Report
from stagewhisper.errors import BundleError


@dataclass(frozen=True)
class CompiledReport:
    """A bundle and how it came about."""

    bundle: Bundle
    recipe: Mapping[str, Any]
    """The recipe with all that it includes, as plain data that could be a recipe file."""
    check: str
    """How numbers were compared: after "each" pass, at the "end", or "off"."""
    seconds: float
    graphs: Mapping[str, Report]
    """Of the encoder and of the decoder."""

    def to_json(self) -> str:
        """All but the bundle itself, for the file in the bundle."""
        graphs = {name: report.to_dict() for name, report in self.graphs.items()}
        document = {"recipe": self.recipe, "check": self.check, "seconds": self.seconds, "graphs": graphs}
        return json.dumps(document, indent=1)


def read_report(bundle: Bundle) -> CompiledReport:
    """How the bundle came about, as it says itself.

    Raises:
        BundleError: its report cannot be read.
    """
    try:
        document = json.loads(bundle.report.read_text(encoding="utf-8"))
        graphs = {name: Report.from_dict(report) for name, report in document["graphs"].items()}
        return CompiledReport(bundle, document["recipe"], document["check"], float(document["seconds"]), graphs)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise BundleError(f"The report of the bundle {bundle.path} is damaged ({error}). Compile it again.") from error
