"""What all widgets have in common: their modules, their words, and the intents that they obey."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, ClassVar, Final, TypeVar

from pydantic import ConfigDict, ValidationError, validate_call

from eslab.errors import EslabError, MissingDependencyError

try:
    import anywidget
    import traitlets
except ModuleNotFoundError as error:
    raise MissingDependencyError(
        error.name or "anywidget", extra="lab", purpose="live widgets"
    ) from error

__all__ = ["LiveWidget", "intent"]

F = TypeVar("F", bound=Callable[..., Any])

_log = logging.getLogger("eslab.widgets")

STATIC: Final = Path(__file__).with_name("static")


def intent(method: F) -> F:
    """Let the browser ask for a method, by its name and with arguments of the types it declares.

    A browser is not trusted: what is not marked so cannot be called from there, and arguments that
    do not fit, or that have other names, are refused.

    Raises:
        TypeError: widgets have a method of this name already, such as ``open`` or ``close``.
    """
    if hasattr(anywidget.AnyWidget, method.__name__):
        raise TypeError(
            f"an intent cannot be called {method.__name__!r}: widgets have a method of that name"
        )
    checked: Any = validate_call(config=ConfigDict(strict=True))(method)
    checked.is_intent = True
    return checked  # type: ignore[no-any-return]


class LiveWidget(anywidget.AnyWidget):
    """A widget whose module is ``static/<module>.js``, behind what all share in ``common.js``.

    Between the two stand the `parts` that it has in common with some others.

    A module is plain JavaScript, and ends with ``export default { render }``. There
    ``ask(model, "seek", { version: 3 })`` sends an intent, and gives a promise of what the method
    of that name returned, or of the error that it raised, in words.

    Intents come on threads of their own, beside running cells, and one at a time.

    Attributes:
        said: one line that says what is shown; screen readers read it out when it changes.
    """

    module: ClassVar[str]
    parts: ClassVar[tuple[str, ...]] = ()

    said = traitlets.Unicode().tag(sync=True)

    def __init_subclass__(cls, **options: Any) -> None:
        """Give the class its module and its style."""
        if "module" in vars(cls):  # anywidget derives a class of each widget
            names = ("common", *cls.parts, cls.module)
            cls._esm = "\n".join(_text(f"{name}.js") for name in names)
            cls._css = "\n".join(_text(f"{name}.css") for name in names)
        super().__init_subclass__(**options)

    def __init__(self, **values: Any) -> None:
        self._lock = threading.RLock()
        super().__init__(**values)
        self.on_msg(self._receive)

    def _receive(self, _widget: object, content: object, _buffers: object) -> None:
        match content:
            case {"intent": str(name), "id": int(number), "arguments": dict(arguments)}:
                self.send({"answer": number, **self._obey(name, arguments)})

    def _obey(self, name: str, arguments: dict[str, Any]) -> dict[str, Any]:
        method: Any = getattr(type(self), name, None)
        if not getattr(method, "is_intent", False):
            return {"error": f"{type(self).__name__} knows no intent {name!r}"}
        try:
            with self._lock:
                return {"result": method(self, **arguments)}
        except ValidationError as error:
            wrong = error.errors()[0]
            place = ".".join(map(str, wrong["loc"]))
            given = "" if "missing" in wrong["type"] else f", not {wrong['input']!r:.100}"
            return {"error": f"{name}: {place}: {wrong['msg']}{given}"}
        except EslabError as error:
            return {"error": str(error)}
        except Exception as error:
            # Of a handler or a step, for instance; without an answer the page would wait for one.
            _log.exception("the intent %r failed", name)
            return {"error": f"{type(error).__name__}: {error}"}


@cache
def _text(name: str) -> str:
    path = STATIC / name
    return path.read_text(encoding="utf-8") if path.exists() else ""
