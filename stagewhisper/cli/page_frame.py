"""What the pages of benchmark, profile and search have in common: one file, no scripts, nothing fetched."""

import base64
import hashlib
from importlib import resources

from stagewhisper.evaluation.page_markup import Html, joined, tag


def framed(title: str, *content: Html, style: str) -> str:
    """A page with this content; `style` is a file beside this one, which adds to the evaluation's."""
    rules = joined((_resource("stagewhisper.evaluation", "page.css"), _resource("stagewhisper.cli", style)))
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", http_equiv="Content-Security-Policy", content=_policy(rules)),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="color-scheme", content="light dark"),
        tag("title", title),
        tag("style", rules),
    )
    return f"<!DOCTYPE html>\n{tag('html', head, tag('body', tag('main', *content)), lang='en')}\n"


def _resource(package: str, name: str) -> Html:
    return Html(resources.files(package).joinpath(name).read_text(encoding="utf-8"))


def _policy(style: str) -> str:
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    return f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
