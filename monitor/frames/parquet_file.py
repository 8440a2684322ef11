"""Parquet files, read by record batches."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from monitor.frames.table import Table, flattened, rows_together

BUFFER_BYTES = 1 << 20  # of each column


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
    schema = flattened(nested.empty_table()).schema
    rows = rows_together(len(schema))

    def parts() -> Iterator[pa.Table]:
        # Otherwise Arrow keeps all column chunks that it has read, in the end the whole file.
        with pq.ParquetFile(path, pre_buffer=False, buffer_size=BUFFER_BYTES) as file:
            for batch in file.iter_batches(rows):
                yield flattened(pa.Table.from_batches([batch]))

    return Table(str(path), schema, parts)
