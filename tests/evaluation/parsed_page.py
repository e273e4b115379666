"""A page as a tree of elements, read the way a browser would; wrong nesting fails."""

from dataclasses import dataclass, field
from html.parser import HTMLParser

_VOID = {"input", "link", "meta"}


@dataclass
class Element:
    name: str
    attributes: dict[str, str | None]
    children: list["Element | str"] = field(default_factory=list)

    @property
    def text(self) -> str:
        return "".join(child if isinstance(child, str) else child.text for child in self.children)

    def all(self, name: str | None = None, *, class_: str | None = None) -> list["Element"]:
        """Every element below with that name, or that class, in the page's order."""
        found = []
        for child in self.children:
            if isinstance(child, Element):
                classes = (child.attributes.get("class") or "").split()
                if name in (None, child.name) and (class_ is None or class_ in classes):
                    found.append(child)
                found += child.all(name, class_=class_)
        return found

    def by_id(self, identifier: str) -> "Element":
        (found,) = [element for element in self.all() if element.attributes.get("id") == identifier]
        return found

    def has(self, identifier: str) -> bool:
        return any(element.attributes.get("id") == identifier for element in self.all())

    @property
    def values(self) -> list[float]:
        """The exact numbers behind those that are shown."""
        return [float(data.attributes["value"] or "") for data in self.all("data")]


def parsed(page: str) -> Element:
    parser = _TreeBuilder()
    parser.feed(page)
    parser.close()
    assert [element.name for element in parser.open] == ["document"], "an element is never closed"
    return parser.open[0]


class _TreeBuilder(HTMLParser):
    def __init__(self):
        super().__init__()
        self.open = [Element("document", {})]

    def handle_starttag(self, name, attributes):
        assert len(dict(attributes)) == len(attributes), f"an attribute of {name} is given twice"
        element = Element(name, dict(attributes))
        self.open[-1].children.append(element)
        if name not in _VOID:
            self.open.append(element)

    def handle_endtag(self, name):
        assert self.open[-1].name == name, f"</{name}> closes <{self.open[-1].name}>"
        self.open.pop()

    def handle_data(self, text):
        self.open[-1].children.append(text)

    def handle_comment(self, text):
        raise AssertionError(f"a comment that nobody wrote: {text}")
