"""Elementary functions for compiled loops: float32 forms that vectorise, and the C library's functions in float64.

Errors are the largest relative ones in float32, measured on CPUs with and without fused multiply-add. After a change
here delete the `*.nbi` files under `__pycache__`: numba looks for changes in a loop's own file only.
"""

import math
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic, overload, register_jitable

from architectures.ops.cpu.loops import FASTMATH

_OPTIONS: Any = {"fastmath": FASTMATH, "error_model": "numpy"}


def exp(x: float) -> float:
    """e^x for x < 88; in float32 with error 3e-7, and never below e^-87."""
    return math.exp(x)


def exp2(x: float) -> float:
    """2^x for x < 127; in float32 with error 1e-7, and never below 2^-64.

    A decay of 2^-64 forgets all that float32 resolves, and products with it stay clear of denormal numbers, which are
    slow.
    """
    return math.exp(x * math.log(2))


def log1p(x: float) -> float:
    """log(1 + x) for x in [0, 1]; in float32 with error 2.3e-7."""
    return math.log1p(x)


def sigmoid(x: float) -> float:
    """1 / (1 + e^-x) for any x; in float32 with error 3e-7 wherever e^-|x| is in the range of `exp`."""
    return 1 / (1 + math.exp(-x))


@intrinsic
def _float32_of_bits(typing: Any, bits: Any) -> Any:
    """Float32 with the bits of an int32."""
    return types.float32(types.int32), lambda context, builder, sig, args: builder.bitcast(args[0], ir.FloatType())


_LOG2_E = np.float32(1 / math.log(2))
# ln(2) rounded to float32, in two parts. Integers n up to 127 times the first, of nine bits, are exact, so that
# x - n ln(2) is rounded once even on a CPU that rounds a product before it subtracts it.
_LN2_HIGH = np.float32(0.693359375)
_LN2_LOW = np.float32(math.log(2)) - _LN2_HIGH
# e^r = 1 + r + r^2 (_C0 + _C1 r + ...) on |r| <= ln(2) / 2: coefficients of Cephes' expf (S. Moshier).
_C0, _C1, _C2, _C3, _C4, _C5 = (
    np.float32(c)
    for c in (5.0000001201e-1, 1.6666665459e-1, 4.1665795894e-2, 8.3334519073e-3, 1.3981999507e-3, 1.9875691500e-4)
)
# 2^r = 1 + r (_P0 + _P1 r + ...) on |r| <= 1/2, fitted at Chebyshev points.
_P0, _P1, _P2, _P3, _P4, _P5 = (
    np.float32(c)
    for c in (6.931471825e-01, 2.402265072e-01, 5.550356954e-02, 9.618056938e-03, 1.339086681e-03, 1.546144777e-04)
)
_S1, _S2, _S3, _S4, _S5, _S6, _S7 = (np.float32(1 / k) for k in range(3, 17, 2))  # atanh(s) = s + s^3 / 3 + s^5 / 5...
_ONE, _TWO, _LEAST_EXP2, _LEAST_EXP = np.float32(1), np.float32(2), np.float32(-64), np.float32(-87)


@register_jitable(fastmath=FASTMATH - {"reassoc"})  # which would put the two parts of ln(2) together again
def _modulo_ln2(x: Any, n: Any) -> Any:
    """x - n ln(2)."""
    return (x - n * _LN2_HIGH) - n * _LN2_LOW


@overload(exp, jit_options=_OPTIONS)
def _exp(x: Any) -> Any:
    def exp_float64(x: Any) -> Any:
        return math.exp(x)

    def exp_float32(x: Any) -> Any:
        # e^x = 2^n e^r with integer n and small r; 2^n is made of bits, because a call to libm would not vectorise.
        x = max(x, _LEAST_EXP)
        n = np.rint(x * _LOG2_E)
        r = _modulo_ln2(x, n)
        p = ((((_C5 * r + _C4) * r + _C3) * r + _C2) * r + _C1) * r + _C0
        return (p * r * r + r + _ONE) * _float32_of_bits((np.int32(n) + np.int32(127)) << np.int32(23))  # type: ignore[call-arg]

    return exp_float32 if x == types.float32 else exp_float64


@overload(exp2, jit_options=_OPTIONS)
def _exp2(x: Any) -> Any:
    def exp2_float64(x: Any) -> Any:
        return math.exp(x * math.log(2))

    def exp2_float32(x: Any) -> Any:
        x = max(x, _LEAST_EXP2)
        n = np.rint(x)
        r = x - n
        p = ((((_P5 * r + _P4) * r + _P3) * r + _P2) * r + _P1) * r + _P0
        return (p * r + _ONE) * _float32_of_bits((np.int32(n) + np.int32(127)) << np.int32(23))  # type: ignore[call-arg]

    return exp2_float32 if x == types.float32 else exp2_float64


@overload(log1p, jit_options=_OPTIONS)
def _log1p(x: Any) -> Any:
    def log1p_float64(x: Any) -> Any:
        return math.log1p(x)

    def log1p_float32(x: Any) -> Any:
        s = x / (x + _TWO)  # log(1 + x) = 2 atanh(x / (2 + x))
        q = s * s
        p = ((((((_S7 * q + _S6) * q + _S5) * q + _S4) * q + _S3) * q + _S2) * q + _S1) * q + _ONE
        return _TWO * s * p

    return log1p_float32 if x == types.float32 else log1p_float64


@overload(sigmoid, jit_options=_OPTIONS)
def _sigmoid(x: Any) -> Any:
    zero, one = (np.float32(0), np.float32(1)) if x == types.float32 else (0.0, 1.0)

    def stable(x: Any) -> Any:
        e = exp(-abs(x))
        return (one if x >= zero else e) / (one + e)

    return stable
