"""Arrays of numbers and lists of strings as Arrow arrays, zero copies for the numbers.

`pa.array` does the same, but it imports pandas wherever that is installed, and `cast` imports pyarrow.compute: together
a fifth of a second before the first vector of a process.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa


def numbers(values: npt.NDArray[np.generic], kind: pa.DataType) -> pa.Array:
    """`values` [N] as an array of a fixed-width type, converted where numpy's type is another; booleans are packed."""
    if pa.types.is_boolean(kind):
        buffer = pa.py_buffer(np.packbits(values.astype(bool), bitorder="little"))
    else:
        buffer = pa.py_buffer(np.ascontiguousarray(values, dtype=kind.to_pandas_dtype()))
    return pa.Array.from_buffers(kind, len(values), [None, buffer])


def strings(values: Sequence[str]) -> pa.StringArray:
    """`values` [N], none of them null. At most 2 GiB together, as Arrow counts a string's bytes in 32 bits."""
    encoded = [value.encode() for value in values]
    bounds = np.zeros(len(encoded) + 1, np.int64)
    np.cumsum([len(one) for one in encoded], out=bounds[1:])
    if bounds[-1] > np.iinfo(np.int32).max:
        raise pa.ArrowCapacityError(f"{bounds[-1]:,} bytes of strings do not fit one Arrow array")
    offsets = pa.py_buffer(bounds.astype(np.int32))
    return pa.StringArray.from_buffers(len(encoded), offsets, pa.py_buffer(b"".join(encoded)))
