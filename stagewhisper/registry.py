"""Look an implementation up by name and import it on first use, so that unused frameworks are never loaded.

One mechanism serves engines, writers and what comes later. A third party adds a name by declaring an
entry point in the registry's group, for example::

    [project.entry-points."stagewhisper.writers"]
    docx = "my_package.docx:write"
"""

from collections.abc import Mapping
from typing import Any, Generic, TypeVar

from stagewhisper.errors import OptionError

T = TypeVar("T")


class Registry(Generic[T]):
    """Implementations of one kind, each known by a name and stored as "module:attribute" until it is needed."""

    def __init__(
        self, kind: str, built_in: Mapping[str, str], *, plural: str = "", extras: Mapping[str, str] | None = None
    ) -> None:
        """`kind` is the singular noun of messages; the entry-point group is `stagewhisper.<plural>`, `<kind>s`
        where no plural is given. `extras` are our optional dependencies by the package that they bring."""
        self._kind = kind
        self._group = f"stagewhisper.{plural or f'{kind}s'}"
        self._built_in = dict(built_in)
        self._extras = dict(extras or {})

    def names(self) -> tuple[str, ...]:
        """All known names, sorted; nothing is imported."""
        return tuple(sorted({*self._built_in, *self._third_party()}))

    def get(self, name: str) -> T:
        """The implementation called `name`.

        Raises:
            OptionError: nothing has that name, or it cannot be imported.
        """
        entry_point = self._find(name)
        try:
            implementation: T = entry_point.load()
        except ModuleNotFoundError as error:
            raise OptionError(
                f"The {self._kind} {name!r} needs the package {error.name!r}, which is not installed. "
                f"Install it with pip{self._extra(error.name)}."
            ) from error
        except (ImportError, AttributeError) as error:
            raise OptionError(
                f"The {self._kind} {name!r} cannot be imported from {entry_point.value!r}: {error}. "
                f"Reinstall the package that it comes from."
            ) from error
        return implementation

    def _find(self, name: str) -> Any:
        from importlib.metadata import EntryPoint  # slow to import, and `--help` needs names only

        if name in self._built_in:
            return EntryPoint(name, self._built_in[name], self._group)
        entry_point = self._third_party().get(name)
        if entry_point is None:
            raise OptionError(f"No {self._kind} named {name!r}. Known: {', '.join(self.names())}.")
        return entry_point

    def _extra(self, package: str | None) -> str:
        extra = self._extras.get(package or "")
        return f": pip install '.[{extra}]'" if extra else ""

    def _third_party(self) -> dict[str, Any]:
        from importlib.metadata import entry_points  # as above

        return {point.name: point for point in entry_points(group=self._group)}
