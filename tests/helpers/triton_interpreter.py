"""Runs Triton kernels on the CPU, forward and backward, in Triton's own interpreter.

Importing this module switches the interpreter on, so it must come before triton or anything that imports it, and it
holds for the rest of the process. Right with triton 3.7.1 and 3.9.0 in float32 and float16; bfloat16 is silently wrong.

The interpreter replaces the functions of `triton.language` by NumPy ones while a kernel runs. As it comes, it cannot
run kernels that time their configurations, that import those functions by name or that loop over a number known only
at run time. The three changes below are what it lacks.
"""

import builtins
import os
from collections.abc import Callable
from typing import Any

os.environ["TRITON_INTERPRET"] = "1"

import triton.language as tl
from triton.runtime import interpreter
from triton.runtime.autotuner import Autotuner


def _equal_times(autotuner: Any) -> Callable[..., list[float]]:
    return lambda kernel_call, quantiles=None: [0.0, 0.0, 0.0]


# Timing would need a device. When every configuration takes as long as the others, the autotuner keeps the first.
Autotuner.do_bench = property(_equal_times)


class _Namespace:
    """A dictionary of globals read and written as attributes, which is how the interpreter replaces and restores."""

    def __init__(self, variables: dict[str, Any]) -> None:
        self.__dict__["variables"] = variables

    def __getattr__(self, name: str) -> Any:
        try:
            return self.variables[name]
        except KeyError:
            raise AttributeError(name) from None

    def __setattr__(self, name: str, value: Any) -> None:
        self.variables[name] = value

    def __delattr__(self, name: str) -> None:
        del self.variables[name]


def _range(*bounds: Any) -> Any:
    """`range` whose bounds may be one-element tensors and whose values are tensors, as in a compiled kernel."""
    return map(interpreter._implicit_cvt, builtins.range(*map(int, bounds)))


def _patch_language_and_globals(kernel: Any) -> Any:
    """Replacements of the interpreter in `triton.language`, and in the globals of the kernel's own module."""
    scope, namespace = _patch_language(kernel), _Namespace(kernel.__globals__)
    for name, value in list(kernel.__globals__.items()):
        if tl.core.is_builtin(value):
            interpreter._patch_attr(namespace, name, value, interpreter.interpreter_builder, scope)
    scope.set_attr(namespace, "range", _range)
    return scope


_patch_language = interpreter._patch_lang
interpreter._patch_lang = _patch_language_and_globals
