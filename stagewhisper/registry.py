"""Look an implementation up by name and import it on first use, so that unused frameworks are never loaded.

One mechanism serves engines, writers and what comes later. A third party adds a name by declaring an
entry point in the registry's group, for example::

    [project.entry-points."stagewhisper.writers"]
    docx = "my_package.docx:write"
"""

import logging
from collections.abc import Mapping
from typing import Any, Generic, TypeVar

from stagewhisper.errors import OptionError

logger = logging.getLogger(__name__)

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
        self._told: set[str] = set()
        self._looked_around = False

    def names(self) -> tuple[str, ...]:
        """All known names, sorted; nothing is imported."""
        return tuple(sorted({*self._built_in, *self._third_party()}))

    def get(self, name: str) -> T:
        """The implementation called `name`.

        Raises:
            OptionError: nothing has that name, it cannot be imported, or it is nothing that can be called.
        """
        entry_point = self._find(name)
        try:
            implementation: T = entry_point.load()
        except ModuleNotFoundError as error:
            raise OptionError(
                f"The {self._kind} {name!r} needs the package {error.name!r}, which is not installed. "
                f"Install it with pip{self._extra(error.name)}."
            ) from error
        except (Exception, SystemExit) as error:  # others' modules may raise anything while they are imported
            what = f"{error}" if isinstance(error, ImportError | AttributeError) else f"{type(error).__name__}: {error}"
            raise OptionError(
                f"The {self._kind} {name!r} cannot be imported from {entry_point.value!r}: {what.rstrip('.: ')}. "
                f"Reinstall the package that it comes from, or tell its authors."
            ) from error
        if not callable(implementation):
            raise OptionError(
                f"The {self._kind} {name!r} is {implementation!r:.80} in {entry_point.value!r}; expected something to "
                f"call. Tell the authors of the package that it comes from."
            )
        return implementation

    def third_party(self, name: str) -> Any:
        """The entry point of another package that has this name; None for our own names and unknown ones."""
        return None if name in self._built_in else self._third_party().get(name)

    def _find(self, name: str) -> Any:
        from importlib.metadata import EntryPoint  # slow to import, and `--help` needs names only

        if name in self._built_in:
            if not self._looked_around:
                self._third_party()  # which tells of packages that wanted one of our names
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

        self._looked_around = True
        found: dict[str, Any] = {}
        for point in entry_points(group=self._group):
            if point.name in self._built_in:
                self._tell_once(point, "there is one of that name already, which is ours")
            elif point.name in found and found[point.name].value != point.value:
                self._tell_once(point, f"there is one of that name already, from {found[point.name].value!r}")
            else:
                found[point.name] = point
        return found

    def _tell_once(self, point: Any, reason: str) -> None:
        if point.value not in self._told:
            self._told.add(point.value)
            logger.warning(
                "The %s %r from %r is not used: %s. Give it another name.", self._kind, point.name, point.value, reason
            )
