"""Tables of events: CSV and Parquet files and pandas frames, read as the stream reads the same rows.

Examples
--------
>>> import pandas as pd
>>> from monitor.frames import reference_from_frame
>>> reference_from_frame(pd.DataFrame({"temp": range(1000)})).rows
1000
"""

from monitor.frames.batches import Batches
from monitor.frames.pandas_frame import frame_table
from monitor.frames.reference import (
    reference_from_file,
    reference_from_frame,
    reference_from_table,
    windows_of_frame,
)
from monitor.frames.table import Table, open_table

__all__ = [
    "Batches",
    "Table",
    "frame_table",
    "open_table",
    "reference_from_file",
    "reference_from_frame",
    "reference_from_table",
    "windows_of_frame",
]
