"""Reads untrusted Parquet files in a separate process: a file that lies about its size or breaks the reader ends this
process and not the validation.

A program to be run by its path: on standard input a JSON list of [path, most rows, states], on standard output a line
of JSON per file: {"columns": {name: values}, "n_positions": L, "position_means": [...], ...} or {"problem": [field,
reason]}; see `read_curves`.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

BY_POSITION, PARTS = "loss_by_position_nats", "parts_solved"
MAX_COLUMNS = 40
MAX_VALUES = 2_000_000  # of all columns: 2 MB of run lengths can stand for billions of them
MAX_BYTES = 50_000_000  # uncompressed
MEMORY = 256_000_000  # bytes beyond what the libraries take: the file's own description may be a lie


def read_curves(path: str, max_rows: int, states: tuple[int, int] | None = None) -> dict[str, Any]:
    """The curves in a file, after a look at its description alone.

    Args:
        path: of a Parquet file: columns step (int64), metrics (float64), loss_by_position_nats (lists of float32) and,
            of a task that has parts, parts_solved (lists of bool).
        max_rows: more rows are refused.
        states: cells S in a state and states T in a sequence, where sequences are states and have S T - 1 positions.

    Returns:
        `columns` by name, `n_positions`, `parts` (a text of 0 and 1 for every row, or nothing), and of the losses by
        position, row by row: `position_means`, `digests`, and with states `scored_means` (after the first state),
        `late_means` (over the second half of the states) and `low_cells` (how many of the S cells have a mean loss
        below that of one that is wrong in 1 %). Or `problem`.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        limits = {"thrift_string_size_limit": 1_000_000, "thrift_container_size_limit": 10_000}
        with pq.ParquetFile(path, memory_map=False, pre_buffer=False, **limits) as file:
            for problem in _size_problems(file.metadata, max_rows):
                return {"problem": ["curves", problem]}
            for field, problem in _type_problems(file.schema_arrow):
                return {"problem": [field, problem]}
            table = file.read(use_threads=False, use_pandas_metadata=False)
        table.validate(full=True)
        return _plain(table, states)
    except MemoryError:  # pyarrow's own is an ArrowException, too
        return {"problem": ["curves", f"takes more than {MEMORY:,} bytes of memory to read"]}
    except (pa.ArrowException, OSError, ValueError, KeyError, TypeError) as error:
        return {"problem": ["curves", f"is no Parquet file that can be read: {' '.join(str(error).split())[:200]}"]}


def _size_problems(metadata: Any, max_rows: int) -> Iterator[str]:
    rows, columns, groups = metadata.num_rows, metadata.num_columns, metadata.num_row_groups
    if not 1 <= rows <= max_rows:
        yield f"has {rows:,} rows, must have 1 to {max_rows:,}: the evaluations that fit into the budget"
    if columns > MAX_COLUMNS:
        yield f"has {columns:,} columns, at most {MAX_COLUMNS} are allowed"
    if not 1 <= groups <= rows:
        yield f"has {groups:,} row groups for {rows:,} rows"
    chunks = [metadata.row_group(i).column(j) for i in range(groups) for j in range(columns)]
    values = [chunk.num_values for chunk in chunks]
    sizes = [chunk.total_uncompressed_size for chunk in chunks]
    if min(values) < 0 or sum(values) > MAX_VALUES:
        yield f"has {sum(values):,} values, at most {MAX_VALUES:,} are allowed"
    if min(sizes) < 0 or sum(sizes) > MAX_BYTES:
        yield f"unpacks to {sum(sizes):,} bytes, at most {MAX_BYTES:,} are allowed"


def _type_problems(schema: Any) -> Iterator[tuple[str, str]]:
    import pyarrow as pa

    special = {"step": pa.int64(), BY_POSITION: pa.list_(pa.float32()), PARTS: pa.list_(pa.bool_())}
    for name in ("step", BY_POSITION):
        if name not in schema.names:
            yield name, "column is missing"
    for name in schema.names:
        if schema.names.count(name) > 1:
            yield name, "column stands there twice"
    for column in schema:
        wanted, found = special.get(column.name, pa.float64()), column.type
        both_lists = pa.types.is_list(found) and pa.types.is_list(wanted)
        same = found.value_type == wanted.value_type if both_lists else found == wanted  # whatever elements are called
        if not same:
            yield column.name, f"column holds {str(found)[:100]}, must hold {wanted}"


def _plain(table: Any, states: tuple[int, int] | None) -> dict[str, Any]:
    import numpy as np

    of_lists: dict[str, Any] = {}
    for name in table.column_names:
        if table[name].null_count and name in ("step", BY_POSITION, PARTS):
            return {"problem": [name, "column has empty values"]}
        if name not in (BY_POSITION, PARTS):
            continue
        lists = table[name].combine_chunks()
        if len(lists.values) > MAX_VALUES:
            return {"problem": ["curves", f"has more than {MAX_VALUES:,} values, unlike its own description says"]}
        length, values = len(lists[0]), lists.flatten()
        if (values.null_count and name == PARTS) or not length or {len(row) for row in lists} != {length}:
            return {"problem": [name, "rows must be lists of one and the same length, without empty values"]}
        of_lists[name] = (
            (values if name == PARTS else values.fill_null(math.nan)).to_numpy(zero_copy_only=False).reshape(-1, length)
        )
    rows = of_lists[BY_POSITION]
    length = rows.shape[1]
    # The loss of a run that diverged is NaN, which pandas writes as an empty value.
    columns = {
        name: [math.nan if value is None else value for value in table[name].to_pylist()]
        for name in table.column_names
        if name not in of_lists
    }
    found = {"columns": columns, "n_positions": length, "position_means": _means(rows)}
    found["parts"] = [
        "".join("01"[solved] for solved in row) for row in of_lists.get(PARTS, np.zeros((0, 0), int)).tolist()
    ]
    found["digests"] = [hashlib.blake2b(row.tobytes(), digest_size=12).hexdigest() for row in rows]
    if states is not None and states[0] * states[1] == length + 1:
        size, n_states = states
        scored = rows[:, size - 1 :]
        with np.errstate(all="ignore"):
            cells = scored.reshape(len(rows), n_states - 1, size).mean(1, dtype=np.float64)
        found["scored_means"] = _means(scored)
        found["late_means"] = _means(rows[:, -(-n_states // 2) * size - 1 :])
        found["low_cells"] = (cells < 0.999 * 0.01 * math.log(2)).sum(1).tolist()
    return found


def _means(rows: Any) -> list[float]:
    import numpy as np

    with np.errstate(all="ignore"):  # a diverged run may end in Infinity
        means: list[float] = rows.mean(1, dtype=np.float64).tolist()
    return means


def _limit_memory() -> None:
    """Limit the address space to what is in use now and `MEMORY`; nothing where that is not known."""
    statm = Path("/proc/self/statm")
    if statm.exists():
        import resource

        import numpy as np
        import pyarrow.parquet as pq

        assert np and pq  # loaded before the limit is set: libraries need room, too
        used = int(statm.read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
        resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY, used + MEMORY))


def main() -> None:
    """Read what standard input names, in order; each answer is out before the next file is opened."""
    requests = json.load(sys.stdin)
    _limit_memory()
    for path, max_rows, *states in requests:
        print(json.dumps(read_curves(path, max_rows, *states)), flush=True)


if __name__ == "__main__":
    main()
