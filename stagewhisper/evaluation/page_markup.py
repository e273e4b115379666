"""HTML that is safe by construction: whatever is not `Html` already is escaped on its way into an element.

A transcript, a file name or an error message may hold anything, `</script>` among it. No part of the page puts text and
markup together by hand; all of them call `tag`.
"""

import html
import json
import re
from collections.abc import Iterable
from typing import Any, TypeAlias

# What no HTML document may hold: controls except tab and line ends, halves of surrogate pairs, which UTF-8 cannot
# write, and noncharacters of the first plane.
_FORBIDDEN = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufdd0-\ufdef\ufffe\uffff]")

_VOID = frozenset({"input", "link", "meta"})  # of those that the page uses


class Html(str):
    """Markup that goes into the page as it is."""

    __slots__ = ()


Child: TypeAlias = str | None
"""Text, which is escaped; `Html`, which is not; or nothing."""
Attribute: TypeAlias = str | float | bool | None
"""A value; True for an attribute without one; False or None for one that is left out."""


def tag(name: str, /, *children: Child, **attributes: Attribute) -> Html:
    """The element `name` with `children` in it.

    An attribute's name is written as in Python: `class_` is class, `aria_label` is aria-label.
    """
    opening = f"<{name}{''.join(_attribute(key, value) for key, value in attributes.items())}>"
    return Html(opening) if name in _VOID else Html(f"{opening}{joined(children)}</{name}>")


def joined(children: Iterable[Child]) -> Html:
    """The children one after another, without an element around them."""
    return Html("".join(child if isinstance(child, Html) else escaped(child or "") for child in children))


def escaped(text: str) -> Html:
    """`text` as markup that shows it; what HTML cannot hold becomes U+FFFD."""
    return Html(html.escape(_FORBIDDEN.sub("\N{REPLACEMENT CHARACTER}", text)))


def data_block(identifier: str, value: Any) -> Html:
    """A script element that holds `value` as JSON, for the page's own script to read; it is never run."""
    # "<" cannot end the element, nor open a comment in it, once it is written as an escape of JSON. ASCII alone
    # leaves no half of a surrogate pair for UTF-8 to stumble over.
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    text = _FORBIDDEN.sub(r"\\ufffd", text).replace("<", r"\u003c")
    return tag("script", Html(text), type="application/json", id=identifier)


def _attribute(key: str, value: Attribute) -> str:
    if value is None or value is False:
        return ""
    name = key.rstrip("_").replace("_", "-")
    return f" {name}" if value is True else f' {name}="{escaped(str(value))}"'
