"""Reads a pickle opcode by opcode, with stand-ins for every class and function: nothing is imported or called.

What it does with frames, memo and marks is Python's own unpickler's, which joblib uses. What a class or function is
used for is recorded:

- `make`: an instance is made without calling `__init__`, with no arguments but its class
- `call`: it is called, or made with arguments
- `fill`: what it made is appended to, or has items set
- `refer`: it is a value, so that the model may call it later with anything
"""

from __future__ import annotations

import _compat_pickle
import pickle
import struct
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from converter.trust.argument_rules import check_call, takes_class
from converter.trust.inflating import CountedFile
from converter.trust.numpy_parts import ARRAY_WRAPPER, ArrayStandIn, DtypeStandIn, OddNumpy
from converter.trust.state_rules import FORMULA_PROBLEM, FORMULAS, find_state_problem

# Of each file, the first that are never allowed.
_MOST_PROBLEMS = 20
_NEWOBJ = ("copyreg", "__newobj__")
_NEWOBJ_EX = ("copyreg", "__newobj_ex__")
_RECONSTRUCTOR = ("copyreg", "_reconstructor")
# What gives a text that is not seen here, and is equal to one that is.
_TEXT_MAKERS = {"scalar", "str", "_frombuffer"}
_BASES = {"object", "dict", "list", "set", "frozenset", "tuple", "int", "float", "str", "complex", "bytes"}


@dataclass
class Contents:
    """What a pickle would do: `uses` are (module, name, use), `problems` what no list can allow.

    `names` are the classes and functions by module; `sklearn` are the versions that its estimators were saved by.
    `sha256` is that of the very bytes that were read, all of the file.
    """

    names: set[tuple[str, str]] = field(default_factory=set)
    sklearn: set[str] = field(default_factory=set)
    uses: set[tuple[str, str, str]] = field(default_factory=set)
    problems: list[str] = field(default_factory=list)
    sha256: str = ""
    has_formulas: bool = False

    def add_problem(self, text: str) -> None:
        """Note what is never allowed, once."""
        if len(self.problems) < _MOST_PROBLEMS and text not in self.problems:
            self.problems.append(text)


class _Global:
    """Stands for a class or function that the file names."""

    def __init__(self, module: str, name: str) -> None:
        self.kind = (module, name)


class _StandIn:
    """Stands for any object; `kind` is the name of what made it, if that has one."""

    def __init__(self, kind: tuple[str, str] | None = None) -> None:
        self.kind = kind


def interpret_pickle(file: CountedFile, contents: Contents) -> None:
    """Read the pickle that a file begins with, as joblib does, and note in `contents` what it would do."""
    _Interpreter(file, contents).load()
    if contents.has_formulas and any(module.split(".")[0] == "statsmodels" for module, _ in contents.names):
        contents.add_problem(FORMULA_PROBLEM)


# typeshed knows only the C unpickler, which cannot be overridden opcode by opcode.
_PythonUnpickler: Any = pickle._Unpickler


class _Interpreter(_PythonUnpickler):  # type: ignore[misc]  # Any, as above
    """Reads one pickle of a file into `contents`; with `arrays`, joblib's bytes of arrays may lie in it."""

    dispatch: dict[int, Any] = dict(_PythonUnpickler.dispatch)  # noqa: RUF012  (the base class reads it here)

    def __init__(self, file: CountedFile, contents: Contents, arrays: bool = True) -> None:
        super().__init__(file)
        self.proto = 0
        self._file = file
        self._contents = contents
        self._arrays = arrays
        # Tuples that hold classes or functions and are in use for nothing yet, by identity.
        self._loaded: dict[int, tuple[Any, ...]] = {}
        # numpy.memmap as a value of dicts, which is right in the state of an array only.
        self._memmaps: dict[int, dict[Any, Any]] = {}

    def load(self) -> None:
        """Read to the opcode that ends the pickle."""
        self._escape(super().load())
        for held in self._memmaps.values():
            self._contents.uses.add((*next(v.kind for v in held.values() if _is_memmap(v)), "refer"))

    def find_class(self, module: str, name: str) -> Any:
        if self.proto < 3:
            # As it is loaded: under the names of Python 3.
            module, name = _compat_pickle.NAME_MAPPING.get(
                (module, name), (_compat_pickle.IMPORT_MAPPING.get(module, module), name)
            )
        self._contents.names.add((module, name))
        return _Global(module, name)

    def persistent_load(self, pid: Any) -> Any:
        return self._refuse("a persistent id, which asks the reader for an object")

    def get_extension(self, code: int) -> None:
        self.append(self._refuse("an extension code of copyreg"))

    def load_stack_global(self) -> None:
        if any(type(text) is not str for text in self.stack[-2:]):
            del self.stack[-2:]
            self.append(self._refuse("the name of an import that is computed"))
        else:
            super().load_stack_global()

    def _instantiate(self, kind: Any, args: Any) -> None:
        self.append(self._call(kind, tuple(args)))

    def load_reduce(self) -> None:
        args = self.stack.pop()
        self.stack[-1] = self._call(self.stack[-1], args)

    def load_newobj(self) -> None:
        args = self.stack.pop()
        self.stack[-1] = self._make(self.stack[-1], args, {})

    def load_newobj_ex(self) -> None:
        kwargs, args = self.stack.pop(), self.stack.pop()
        self.stack[-1] = self._make(self.stack[-1], args, kwargs)

    def load_build(self) -> None:
        state = self.stack.pop()
        built = self.stack[-1]
        try:
            if isinstance(built, ArrayStandIn):
                self.stack[-1] = self._pass_over(built, state)
            elif isinstance(built, DtypeStandIn):
                built.set_state(state)
            elif isinstance(built, _StandIn):
                self._set_state(built, state)
            else:
                self._refuse("a change of a class, function or module")
        except OddNumpy as error:
            self._refuse(str(error))
        self._escape(state)

    def load_bytearray8(self) -> None:
        """Python's own makes room for as many bytes as the file claims before it reads one."""
        (size,) = struct.unpack("<Q", self.read(8))
        data = self.read(size)
        if len(data) != size:
            raise EOFError("the file ends within a bytearray")
        self.append(bytearray(data))

    def load_tuple(self) -> None:
        super().load_tuple()
        self._note_tuple()

    def load_tuple1(self) -> None:
        super().load_tuple1()
        self._note_tuple()

    def load_tuple2(self) -> None:
        super().load_tuple2()
        self._note_tuple()

    def load_tuple3(self) -> None:
        super().load_tuple3()
        self._note_tuple()

    def load_list(self) -> None:
        super().load_list()
        self._escape_all(self.stack[-1])

    def load_frozenset(self) -> None:
        super().load_frozenset()
        self._escape_all(self.stack[-1])

    def load_dict(self) -> None:
        super().load_dict()
        made = self.stack[-1]
        self._escape_all(made)
        self._escape_all(made.values())
        self._note_keys(list(made), list(made.values()))

    def load_append(self) -> None:
        self._fill(list, [self.stack.pop()])

    def load_appends(self) -> None:
        self._fill(list, self.pop_mark())

    def load_additems(self) -> None:
        self._fill(set, self.pop_mark())

    def load_setitem(self) -> None:
        value, key = self.stack.pop(), self.stack.pop()
        self._set_items([key, value])

    def load_setitems(self) -> None:
        self._set_items(self.pop_mark())

    def _set_items(self, items: list[Any]) -> None:
        target: Any = self.stack[-1]
        self._note_keys(items[::2], items[1::2])
        if type(target) is dict and any(map(_is_memmap, items[1::2])):
            self._memmaps[id(target)] = target
            target.update(zip(items[::2], items[1::2], strict=True))
            self._escape_all(item for item in items if not _is_memmap(item))
            return
        self._fill(dict, items)

    def _fill(self, kind: type, items: list[Any]) -> None:
        """Put items into the object on the stack: a list, set or dict of the file's own, or what it made."""
        target: Any = self.stack[-1]
        known: Any = type(target)
        self._escape_all(items)
        if known is kind:
            if kind is list:
                target.extend(items)
            else:
                target.update(zip(items[::2], items[1::2], strict=True) if kind is dict else items)
        elif isinstance(target, _StandIn) and target.kind is not None:
            self._contents.uses.add((*target.kind, "fill"))
        else:
            self._refuse("items put into something that is no container")

    def _call(self, callee: Any, args: Any) -> Any:
        if not isinstance(callee, _Global) or type(args) is not tuple:
            return self._refuse("a call of an object that the file makes")
        kind = callee.kind
        if kind == ("numpy", "dtype"):
            return self._make_dtype(args)
        self._contents.uses.add((*kind, "call"))
        if kind == _RECONSTRUCTOR:
            return self._reconstruct(args)
        if kind in (_NEWOBJ, _NEWOBJ_EX) and args:
            rest, kwargs = (args[1:], {}) if kind == _NEWOBJ else args[1:3]
            return self._make(args[0], rest, kwargs)
        if takes_class(kind) and args and isinstance(args[0], _Global):
            self._escape_all(args[1:])
            return self._make(args[0], (), {})
        self._check_arguments(kind, args)
        return _StandIn(kind)

    def _check_arguments(self, kind: tuple[str, str], args: tuple[Any, ...]) -> None:
        if (problem := check_call(kind, tuple(_name(item) or item for item in args))) is not None:
            self._refuse(problem)
        self._escape(args)

    def _make(self, cls: Any, args: Any, kwargs: Any) -> Any:
        if not isinstance(cls, _Global) or type(args) is not tuple or type(kwargs) is not dict:
            return self._refuse("an instance of what is no class by name")
        if cls.kind == ("numpy", "dtype"):
            return self._make_dtype(args)
        use = "call" if args or kwargs else "make"
        self._contents.uses.add((*cls.kind, use))
        self._check_arguments(cls.kind, args)
        if cls.kind == ARRAY_WRAPPER and use == "make" and self._arrays:
            return ArrayStandIn()
        if cls.kind == ARRAY_WRAPPER:
            self._refuse("an array of joblib's where joblib reads none")
        return _StandIn(cls.kind)

    def _reconstruct(self, args: tuple[Any, ...]) -> Any:
        """Make what protocols 0 and 1 make by `copyreg._reconstructor(cls, base, state of the base)`."""
        base = _name(args[1]) if len(args) == 3 else None
        if base is None or base[0] != "builtins" or base[1] not in _BASES:
            return self._refuse("an instance of an unusual base")
        self._escape_all(args[1:])
        if isinstance(args[0], _Global) and base[1] != "object":
            self._contents.uses.add((*args[0].kind, "fill"))
        return self._make(args[0], (), {})

    def _make_dtype(self, args: tuple[Any, ...]) -> Any:
        self._contents.uses.add(("numpy", "dtype", "call"))
        try:
            return DtypeStandIn(args)
        except OddNumpy as error:
            return self._refuse(str(error))

    def _set_state(self, built: _StandIn, state: Any) -> None:
        if built.kind is not None and (problem := find_state_problem(built.kind, state)) is not None:
            self._refuse(problem)
        if isinstance(state, dict) and isinstance(state.get("_sklearn_version"), str):
            self._contents.sklearn.add(state["_sklearn_version"])

    def _pass_over(self, array: ArrayStandIn, state: Any) -> _StandIn:
        """Pass over the bytes of an array that lie here in the file, or read the pickle of its objects."""
        self._memmaps.pop(id(state), None)
        found = array.set_state(state, _name)
        if found is None:
            # By Python's own unpickler, which knows no arrays of joblib's.
            _Interpreter(self._file, self._contents, arrays=False).load()
            return _StandIn()
        size, padded = found
        if padded:
            self._file.skip(self._file.read(1)[0])
        self._file.skip(size)
        return _StandIn()

    def _note_keys(self, keys: Iterable[Any], values: Iterable[Any]) -> None:
        for key, value in zip(keys, values, strict=True):
            if type(key) is str:
                if key in FORMULAS and value is not None:
                    self._contents.has_formulas = True
            elif isinstance(key, _StandIn) and key.kind is not None and key.kind[1] in _TEXT_MAKERS:
                self._contents.has_formulas = True

    def _note_tuple(self) -> None:
        made = self.stack[-1]
        if any(isinstance(item, _Global) or id(item) in self._loaded for item in made):
            self._loaded[id(made)] = made

    def _escape_all(self, values: Iterable[Any]) -> None:
        for value in values:
            self._escape(value)

    def _escape(self, value: Any) -> None:
        """Record what a value refers to: a class or function, or the tuples in tuples that hold some."""
        pending = [value]
        while pending:
            item = pending.pop()
            if type(item) is _Global:
                self._contents.uses.add((*item.kind, "refer"))
            elif type(item) is tuple and self._loaded.pop(id(item), None) is not None:
                pending.extend(item)

    def _refuse(self, text: str) -> _StandIn:
        self._contents.add_problem(text)
        return _StandIn()

    dispatch |= {
        pickle.REDUCE[0]: load_reduce, pickle.NEWOBJ[0]: load_newobj, pickle.NEWOBJ_EX[0]: load_newobj_ex,
        pickle.BUILD[0]: load_build, pickle.APPEND[0]: load_append, pickle.APPENDS[0]: load_appends,
        pickle.SETITEM[0]: load_setitem, pickle.SETITEMS[0]: load_setitems, pickle.ADDITEMS[0]: load_additems,
        pickle.BYTEARRAY8[0]: load_bytearray8, pickle.TUPLE[0]: load_tuple, pickle.TUPLE1[0]: load_tuple1,
        pickle.TUPLE2[0]: load_tuple2, pickle.TUPLE3[0]: load_tuple3, pickle.LIST[0]: load_list,
        pickle.FROZENSET[0]: load_frozenset, pickle.DICT[0]: load_dict, pickle.STACK_GLOBAL[0]: load_stack_global,
    }  # fmt: skip


def _name(value: Any) -> tuple[str, str] | None:
    return value.kind if isinstance(value, _Global) else None


def _is_memmap(value: Any) -> bool:
    return _name(value) == ("numpy", "memmap")
