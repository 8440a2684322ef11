"""Parquet files, read by record batches."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from monitor.frames.table import Table, flattened, rows_together

BUFFER_BYTES = 1 << 20  # of each column
_PANDAS_INDEX = re.compile(r"__index_level_\d+__")  # row labels without a name of their own


def read(path: str | Path) -> Table:
    """Open a Parquet file.

    Raises
    ------
    pa.ArrowException
        If it is damaged.
    OSError
        If it cannot be read.
    """
    with pq.ParquetFile(path) as file:
        nested = file.schema_arrow
    wanted = [name for name in nested.names if not _PANDAS_INDEX.fullmatch(name)]
    schema = flattened(nested.empty_table().select(wanted)).schema
    rows = rows_together(len(schema))

    def parts() -> Iterator[pa.Table]:
        # Otherwise Arrow keeps all column chunks that it has read, in the end the whole file.
        with pq.ParquetFile(path, pre_buffer=False, buffer_size=BUFFER_BYTES) as file:
            for batch in file.iter_batches(rows):
                yield flattened(pa.Table.from_batches([batch]).select(wanted))

    return Table(str(path), schema, parts)
