"""Qt objects as PythonQt shows them: properties are attributes, and only members that the real classes have exist.

PythonQt wraps a C++ object in a Python object that looks its members up when they are used; so does this, around the
objects of PySide6. What the lists of :mod:`api_lists` do not name raises ``AttributeError``, as does writing an
attribute that is no property. A slot must be a bound method without optional parameters: PythonQt would pass signal
arguments to those, and could never disconnect anything else.
"""

from __future__ import annotations

import functools
import inspect
import sys
import traceback
from collections.abc import Callable
from typing import Any

import api_lists
import shiboken6
from PySide6 import QtCore, QtGui, QtWidgets
from PySide6.QtCore import SIGNAL, QObject

MODULES = (QtCore, QtGui, QtWidgets)

# What slots raised since it was last emptied. Qt prints and forgets; a test must not.
failures: list[str] = []
# Of each object: its connections. They go with the object, as they do in PythonQt.
_connections: dict[int, dict[tuple[str, Any], Any]] = {}


class QtClass(type):
    """The class of a wrapped class: enum values and static members are looked up when they are used."""

    raw: type
    name: str

    def __getattr__(cls, name: str) -> Any:
        if name.startswith("__") or "raw" not in cls.__dict__:
            raise AttributeError(name)
        if name not in allowed(cls.raw):
            raise AttributeError(f"The real class {cls.raw.__name__} has no member '{name}'.")
        return wrapped_call(getattr(cls.raw, name))

    def __call__(cls, *args: Any) -> Any:
        raw = cls.raw(*[unwrap(a) for a in args])
        return wrap(raw)

    def __instancecheck__(cls, instance: Any) -> bool:
        return isinstance(getattr(instance, "_raw", None), cls.raw)


class Wrapped:
    """A Qt object as PythonQt shows it."""

    __slots__ = ("_raw",)
    _raw: Any

    def __getattr__(self, name: str) -> Any:
        raw = self._raw
        if not self:
            raise ValueError(f"Trying to call '{name}' on a destroyed {type(raw).__name__} object")
        if name == "connect":
            return _Connector(raw).connect
        if name == "disconnect":
            return _Connector(raw).disconnect
        if name not in allowed(type(raw)):
            raise AttributeError(f"The real class {public_class(type(raw)).__name__} has no member '{name}'.")
        if name == "delete":
            return _Deleter(raw)
        if name == "findChildren":
            return functools.partial(find_children, raw)
        if isinstance(raw, QObject) and raw.metaObject().indexOfProperty(name) >= 0:
            return wrap(raw.property(name))
        member = getattr(raw, name)
        if isinstance(member, QtCore.SignalInstance):
            return member.emit
        return wrapped_call(member)

    def __setattr__(self, name: str, value: Any) -> None:
        raw = self._raw
        if name not in allowed(type(raw)):
            raise AttributeError(f"The real class {public_class(type(raw)).__name__} has no member '{name}'.")
        if not isinstance(raw, QObject) or raw.metaObject().indexOfProperty(name) < 0:
            raise AttributeError(f"'{name}' of {type(raw).__name__} is no property.")
        if not raw.setProperty(name, unwrap(value)):
            raise AttributeError(f"The property '{name}' of {type(raw).__name__} does not take {value!r}.")

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Wrapped):
            return NotImplemented
        if isinstance(self._raw, shiboken6.Object) and isinstance(other._raw, shiboken6.Object):
            return bool(shiboken6.getCppPointer(self._raw) == shiboken6.getCppPointer(other._raw))
        return bool(self._raw == other._raw)

    def __hash__(self) -> int:
        return hash(shiboken6.getCppPointer(self._raw)[0])

    def __bool__(self) -> bool:
        return not isinstance(self._raw, QObject) or bool(shiboken6.isValid(self._raw))

    def __repr__(self) -> str:
        return f"<{type(self._raw).__name__} at host>"


def find_children(raw: Any, kind: QtClass) -> tuple[Any, ...]:
    """All objects of a class below another one; PythonQt wants the class."""
    return tuple(wrap(child) for child in raw.findChildren(kind.raw))


def wrap(value: Any) -> Any:
    """A value that comes from Qt, as Python sees it in Slicer."""
    if isinstance(value, (list, tuple)):
        return type(value)(wrap(item) for item in value)
    if isinstance(value, shiboken6.Object) and public_class(type(value)) is not None:
        instance = object.__new__(Wrapped)
        object.__setattr__(instance, "_raw", value)
        return instance
    return value


def unwrap(value: Any) -> Any:
    """A value that goes to Qt."""
    if isinstance(value, Wrapped):
        return value._raw
    if isinstance(value, (list, tuple)):
        return type(value)(unwrap(item) for item in value)
    return value


def public_class(raw: type) -> type:
    """The class whose members an object shows: the first that the lists know."""
    known = api_lists.qt_classes() | api_lists.widget_classes() | set(api_lists.PLAIN_CLASSES)
    for base in raw.__mro__:
        if base.__name__ in known or base.__name__ in ("QWidget", "QFrame", "QObject"):
            return base
    raise AttributeError(f"Nobody has looked up the class {raw.__name__}; see excerpt.py.")


def allowed(raw: type) -> frozenset[str]:
    """The members that an object of this class shows."""
    return api_lists.members(
        public_class(raw).__name__, is_object=issubclass(raw, QObject), is_widget=issubclass(raw, QtWidgets.QWidget)
    )


def wrapped_call(member: Any) -> Any:
    """A method that takes and returns wrapped values; anything else as it is."""
    if isinstance(member, type) or not callable(member):
        return wrap(member)

    def call(*args: Any) -> Any:
        made = [_as_slot(a) if callable(a) and not isinstance(a, Wrapped) else unwrap(a) for a in args]
        return wrap(member(*made))

    return call


def check_slot(slot: Any) -> int:
    """The number of arguments that PythonQt passes to a slot; raises ``TypeError`` for one that it treats badly."""
    if not inspect.ismethod(slot) or slot.__self__ is None:
        raise TypeError(f"{slot!r} is no bound method: it could never be disconnected.")
    if slot.__func__.__defaults__:
        raise TypeError(f"{slot.__qualname__} has optional parameters: a signal's arguments would go there.")
    return int(slot.__func__.__code__.co_argcount) - 1


def run_slot(slot: Callable[..., Any], args: tuple[Any, ...]) -> None:
    """Call a slot as PythonQt does: an exception is printed, and nobody else hears of it but ``failures``."""
    try:
        slot(*[wrap(a) for a in args])
    except Exception:  # noqa: BLE001 - as PythonQt; tests look at ``failures``
        failures.append(traceback.format_exc())
        sys.stderr.write(failures[-1])


class _Deleter:
    def __init__(self, raw: Any) -> None:
        self._raw = raw

    def __call__(self) -> None:
        shiboken6.delete(self._raw)


class _Connector:
    """``connect`` and ``disconnect`` of one object, by full signatures."""

    def __init__(self, raw: Any) -> None:
        self._raw = raw

    def connect(self, signature: str, slot: Any) -> bool:
        count = check_slot(slot)
        signal = self._signal(signature)

        def deliver(*args: Any) -> None:
            run_slot(slot, args[:count])

        if isinstance(signal, str):
            QObject.connect(self._raw, SIGNAL(signal), deliver)
        else:
            signal.connect(deliver)
        address = shiboken6.getCppPointer(self._raw)[0]
        if address not in _connections:
            _connections[address] = {}
            self._raw.destroyed.connect(functools.partial(_forget, address))
        _connections[address][(signature, slot)] = deliver
        return True

    def disconnect(self, signature: str, slot: Any) -> bool:
        own = _connections.get(shiboken6.getCppPointer(self._raw)[0], {})
        deliver = own.pop((signature, slot), None)
        if deliver is None:
            raise ValueError(f"{slot.__qualname__} was never connected to {signature}.")
        signal = self._signal(signature)
        if isinstance(signal, str):
            QObject.disconnect(self._raw, SIGNAL(signal), deliver)
        else:
            signal.disconnect(deliver)
        return True

    def _signal(self, signature: str) -> Any:
        """The signal to connect: a signature that Qt knows, or the signal of a stand-in."""
        raw = self._raw
        shown = public_class(type(raw))
        name = signature.partition("(")[0]
        if shown.__name__ in api_lists.widget_classes() and signature in api_lists.signals(shown.__name__):
            return getattr(raw, raw.signals_by_signature[signature])
        if name not in allowed(type(raw)) or raw.metaObject().indexOfSignal(signature) < 0:
            known = ", ".join(sorted(api_lists.signals(shown.__name__))) or "see Qt 5's documentation"
            raise ValueError(f"{shown.__name__} has no signal '{signature}' ({known}).")
        return signature


def _forget(address: int, _destroyed: Any = None) -> None:
    _connections.pop(address, None)


def _as_slot(function: Callable[..., Any]) -> Callable[..., None]:
    def deliver(*args: Any) -> None:
        run_slot(function, args)

    return deliver


def find_class(name: str) -> type:
    """The PySide6 class with this name."""
    for module in MODULES:
        if hasattr(module, name):
            return getattr(module, name)  # type: ignore[no-any-return]
    raise AttributeError(f"PySide6 has no class {name}.")


def make_class(raw: type) -> QtClass:
    """The class as the module ``qt``, ``ctk`` or ``slicer`` shows it."""
    return QtClass(raw.__name__, (), {"raw": raw})
