"""Tables as people have them: types, dates, missing values, mixtures, and what messages say of wrong ones."""

import datetime as dt
import decimal
import doctest
import gzip
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from monitor.config.settings import ModelSettings
from monitor.frames import Batches, frame_table, open_table, reference_from_file, reference_from_frame
from monitor.frames.names import KnownKinds
from monitor.frames.times import WrongInstant, event_times
from schemas.batch import INVALID, MISSING
from schemas.errors import UnusableReference, UsageError

DOCS = Path(__file__).parents[2] / "docs"
INSTANT_MS = 1_362_132_000_000
PLAIN = ModelSettings.model_validate({"windows": ["1h"], "reference": {"min_rows": 2}})
PLAIN_KINDS = KnownKinds(PLAIN, {})


def settings_of(**options):
    return ModelSettings.model_validate({"windows": ["1h"], "reference": {"min_rows": 2}, **options})


def csv(tmp_path, text, name="rows.csv"):
    file = tmp_path / name
    file.write_text(text)
    return file


def read(table, chosen=PLAIN):
    """Columns of a table as they are counted: values, "missing" or "invalid"."""
    found: dict[str, list] = {}
    for batch in Batches(table, chosen):
        for spec, values, status in zip(batch.numeric, batch.numbers, batch.status, strict=True):
            states = {MISSING: "missing", INVALID: "invalid"}
            column = [states.get(s, v) for v, s in zip(values.tolist(), status.tolist(), strict=True)]
            found.setdefault(spec.name, []).extend(column)
        for spec, categories in zip(batch.categorical, batch.categories, strict=True):
            names = [*categories.values.to_pylist(), "invalid", "missing"]
            found.setdefault(spec.name, []).extend(names[code] for code in categories.codes)
        for spec, status in batch.vectors:
            found.setdefault(spec.name, []).extend(
                {0: "list", MISSING: "missing"}.get(s, "invalid") for s in status
            )
    return found


def of_frame(chosen=PLAIN, **columns):
    frame = pd.DataFrame({name: pd.Series(values, dtype=object) for name, values in columns.items()})
    return read(frame_table(frame, KnownKinds(chosen, {})), chosen)


def of_csv(tmp_path, text, chosen=PLAIN):
    return read(open_table(csv(tmp_path, text), KnownKinds(chosen, {})), chosen)


# --- values -------------------------------------------------------------------------------------------------


def test_csv_types_are_those_of_the_whole_column(tmp_path):
    found = of_csv(
        tmp_path,
        "whole,half,text,zip,flag,region,empty,quoted\n"
        '1,1,1,02134,True,NA,,"a,\nb"\n'
        '2,2.5,x,10001,False,EU,,""\n'
        ",NaN,NA,,,NA,,c\n",
    )
    assert found == {
        "whole": [1.0, 2.0, "missing"],
        "half": [1.0, 2.5, "missing"],
        "text": ["1", "x", "NA"],
        "zip": ["02134", "10001", "missing"],
        "flag": ["true", "false", "missing"],
        "region": ["NA", "EU", "NA"],
        "quoted": ["a,\nb", "missing", "c"],
    }


def test_texts_in_a_column_of_numbers_are_invalid_if_the_configuration_says_so(tmp_path):
    chosen = settings_of(columns={"x": {"kind": "numeric"}, "code": {"kind": "categorical"}})
    found = of_csv(tmp_path, "x,code\n1.5,1.0\nbroken,2.5\nNA,\n", chosen)
    assert found == {"x": [1.5, "invalid", "missing"], "code": ["1", "2.5", "missing"]}


def test_compressed_csv(tmp_path):
    file = tmp_path / "rows.csv.gz"
    file.write_bytes(gzip.compress(b"x\n1\n2\n"))
    assert read(open_table(file, KnownKinds(PLAIN, {}))) == {"x": [1.0, 2.0]}


def test_objects_are_what_their_values_are_in_json():
    found = of_frame(
        whole=[1, None, 2],
        mixed=[1, "far", 2.5],
        words=["a", "b", True],
        half=["a", None, "\ud800"],
        big=[10**30, 1.0, None],
        money=[decimal.Decimal("1.5"), None, decimal.Decimal(2)],
        vector=[[1.0], None, []],
        day=[dt.date(2013, 3, 1), None, dt.date(1970, 1, 2)],
        user=[{"age": 3, "home": {"zip": "a"}}, None, {"age": None, "home": None}],
    )
    assert found == {
        "whole": [1.0, "missing", 2.0],
        "mixed": [1.0, "invalid", 2.5],
        "words": ["a", "b", "true"],
        "half": ["a", "missing", "?"],
        "big": [1e30, 1.0, "missing"],
        "money": [1.5, "missing", 2.0],
        "vector": ["list", "missing", "list"],
        "day": [1_362_096_000_000.0, "missing", 86_400_000.0],
        "user.age": [3.0, "missing", "missing"],
        "user.home.zip": ["a", "missing", "missing"],
    }


def test_lists_and_single_values_do_not_go_together():
    with pytest.raises(UsageError, match=r"^frame: x: holds values of types that do not go together"):
        of_frame(x=["a", [1], "b"])


def test_dates_times_and_spans_are_milliseconds():
    frame = pd.DataFrame(
        {
            "at": pd.to_datetime(pd.Series(["2013-03-01T10:00:00Z", None])),
            "naive": pd.to_datetime(pd.Series(["2013-03-01T10:00:00.0015", None])),
            "took": pd.to_timedelta([90, None], unit="s"),
            "clock": [dt.time(1, 0), None],
        }
    )
    assert read(frame_table(frame, KnownKinds(PLAIN, {}))) == {
        "at": [float(INSTANT_MS), "missing"],
        "naive": [float(INSTANT_MS + 1), "missing"],
        "took": [90_000.0, "missing"],
        "clock": [3_600_000.0, "missing"],
    }


@pytest.mark.parametrize("kind", [pa.float16(), pa.float32(), pa.uint64(), pa.decimal128(30, 2), pa.int8()])
def test_every_type_of_number(tmp_path, kind):
    pq.write_table(pa.table({"x": pa.array([2, None, 3]).cast(kind)}), tmp_path / "rows.parquet")
    assert read(open_table(tmp_path / "rows.parquet", KnownKinds(PLAIN, {}))) == {"x": [2.0, "missing", 3.0]}


def test_the_task_decides_what_a_prediction_is():
    regression, classes = settings_of(task="regression"), settings_of(task="binary_classification")
    assert of_frame(prediction=[1, 2]) == {"prediction": ["1", "2"]}
    assert of_frame(prediction=[1.0, 2.5]) == {"prediction": [1.0, 2.5]}
    assert of_frame(regression, prediction=[1, 2]) == {"prediction": [1.0, 2.0]}
    assert of_frame(regression, prediction=["a", "b"]) == {"prediction": ["invalid", "invalid"]}
    assert of_frame(classes, prediction=[1.0, None]) == {"prediction": ["1", "missing"]}


def test_parts_of_the_event_are_not_features():
    found = of_frame(
        event_id=["a", "b"], label=[0, 1], label_timestamp=["x", "y"], **{"feature.label": [7, 8]}
    )
    assert found == {"label": [7.0, 8.0]}
    assert of_frame(**{"score": [0.5, 0.25], "feature.score": [7, 8]}) == {
        "score": [0.5, 0.25],
        "feature.score": [7.0, 8.0],
    }


def test_only_rows_of_the_model_and_version_are_read(tmp_path):
    file = csv(tmp_path, "model,version,x\na,1,1\nb,1,2\na,2,3\na,1,4\n")
    wanted: list[tuple[dict[str, Any], list[float]]] = [
        ({"model": "a", "version": "1"}, [1.0, 4.0]),
        ({"model": "b"}, [2.0]),
    ]
    for chosen, expected in wanted:
        table = open_table(file, KnownKinds(PLAIN, {}))
        assert [v for b in Batches(table, PLAIN, **chosen) for v in b.numbers[0].tolist()] == expected
    with pytest.raises(
        UnusableReference, match=r"rows.csv: 0 rows of model 'c' \(a reference needs at least 2"
    ):
        reference_from_file(file, PLAIN, model="c")


def test_tags_are_segments_and_not_features():
    chosen = settings_of(segments=["region"])
    frame = pd.DataFrame({"x": [1.0, 2.0, 3.0], "tags.region": ["eu", None, "us"], "tags.other": [1, 2, 3]})
    reference = reference_from_frame(frame, chosen)
    assert [spec.name for spec in reference.binning.columns] == ["x"]
    rows = dict(zip(reference.binning.groups, reference.group_rows.tolist(), strict=True))
    assert rows == {"": 3, "region=eu": 1, "region=us": 1, "region=(other)": 0, "region=(missing)": 1}


def test_columns_beyond_the_most_are_not_watched():
    reference = reference_from_frame(
        pd.DataFrame({"a": [1, 2], "b": [1, 2], "c": [1, 2]}), settings_of(max_columns=2)
    )
    assert [spec.name for spec in reference.binning.columns] == ["a", "b"]


# --- time ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "column",
    [
        pa.array([INSTANT_MS]),
        pa.array([float(INSTANT_MS)]),
        pa.array(["2013-03-01T10:00:00Z"]),
        pa.array(["2013-03-01 10:00"]),
        pa.array(["2013-03-01T12:00:00.000+02:00"]),
        pa.array([INSTANT_MS], pa.timestamp("ms")),
        pa.array([dt.datetime(2013, 3, 1, 10, tzinfo=dt.UTC)]),
        pa.array([INSTANT_MS // 1_000], pa.timestamp("s", tz="America/New_York")),
    ],
    ids=lambda column: str(column.type),
)
def test_instants(column):
    assert event_times(column).tolist() == [INSTANT_MS]


@pytest.mark.parametrize(
    ("values", "row", "what"),
    [
        ([INSTANT_MS, None], 1, "is missing"),
        ([INSTANT_MS, -1], 1, "-1 is not between the years 1970 and 9999"),
        ([0.5], 0, "0.5 is no instant"),
        (
            ["2013-03-01", "2013-02-28", "2013-02-30T00:00Z", "2013-03-01"],
            2,
            "'2013-02-30T00:00Z' is no instant",
        ),
        (["2013-03-01", "yesterday"], 1, "'yesterday' is no instant (use RFC 3339 as in"),
        ([True], 0, "True is of type bool"),
    ],
)
def test_wrong_instants(values, row, what):
    with pytest.raises(WrongInstant) as caught:
        event_times(pa.array(values))
    assert caught.value.row == row
    assert what in caught.value.what


def test_an_index_of_timestamps_counts():
    index = pd.date_range("2013-03-01", periods=3, freq="h", name="timestamp")
    reference = reference_from_frame(pd.DataFrame({"x": [1, 2, 3]}, index=index), PLAIN)
    assert (reference.from_ms, reference.to_ms) == (
        1_362_096_000_000,
        1_362_096_000_000 + 2 * 3_600_000 + 60_000,
    )
    assert reference.longest_gap_ms == 3_600_000
    assert reference.windows[:, 0].sum(axis=1).tolist() == [1, 1, 1]


def test_without_timestamps_there_are_no_windows():
    reference = reference_from_frame(pd.DataFrame({"x": np.arange(300.0)}), PLAIN)
    assert (reference.rows, reference.from_ms, reference.to_ms, reference.longest_gap_ms) == (300, 0, 0, 0)
    assert reference.windows.shape[0] == 0
    again = type(reference).from_bytes(reference.to_bytes())
    assert again.hash == reference.hash
    assert again.tensor.windows.shape[0] == 0
    verdicts = PLAIN.build_detector().judge(reference.tensor, reference.binning.tensor(reference.counts))
    assert [verdict.column for verdict in verdicts] == ["x"]


def test_memory_does_not_grow_with_a_parquet_file(tmp_path):
    rng = np.random.default_rng(0)
    held = []
    for rows in (200_000, 800_000):
        table = pa.table({f"x{i}": rng.normal(size=rows) for i in range(12)})
        pq.write_table(table, tmp_path / "rows.parquet", row_group_size=rows)
        del table
        before = pa.total_allocated_bytes()
        batches = Batches(open_table(tmp_path / "rows.parquet", PLAIN_KINDS), PLAIN)
        held.append(max(pa.total_allocated_bytes() - before for _ in batches))
    assert held[1] < held[0] + 8_000_000


# --- what is wrong ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "rows.csv: Empty CSV file"),
        ("a,b\n", "rows.csv: 0 rows (a reference needs at least 2: reference.min_rows)"),
        ("a,b\n1,2\n3\n", "rows.csv: CSV parse error: Row #3: Expected 2 columns, got 1: 3"),
        ("a,a\n1,2\n", "rows.csv: column 'a' is there twice (names of columns must differ)"),
        (
            "timestamp,x\n2013-03-01,1\nsoon,2\n",
            "rows.csv: row 2: timestamp: 'soon' is no instant (use RFC 3339",
        ),
        ("timestamp,x\n2013-03-01,1\n,2\n", "rows.csv: row 2: timestamp: is missing"),
        ("score,x\nhigh,1\nlow,2\n", "rows.csv: score: values of type string (numbers are allowed)"),
    ],
)
def test_wrong_files(tmp_path, text, message):
    with pytest.raises((UsageError, UnusableReference)) as caught:
        reference_from_file(csv(tmp_path, text), PLAIN)
    assert message in str(caught.value)
    assert str(tmp_path) in str(caught.value)


def test_files_that_cannot_be_read(tmp_path):
    with pytest.raises(
        UsageError, match=r"missing.csv: cannot be read: No such file or directory \(a CSV or"
    ):
        reference_from_file(tmp_path / "missing.csv", PLAIN)
    with pytest.raises(UsageError, match="cannot be read: Is a directory"):
        reference_from_file(tmp_path, PLAIN)
    (tmp_path / "cut.parquet").write_bytes(b"PAR1" + b"x" * 50)
    with pytest.raises(UsageError, match=r"cut.parquet: .*Parquet"):
        reference_from_file(tmp_path / "cut.parquet", PLAIN)
    (tmp_path / "latin.csv").write_bytes("x\nKöln\nBonn\n".encode("latin-1"))
    with pytest.raises(UsageError, match=r"latin.csv: .*UTF8"):
        reference_from_file(tmp_path / "latin.csv", PLAIN)


def test_values_that_cannot_be_watched(tmp_path):
    pq.write_table(pa.table({"x": pa.array([b"a", b"b"])}), tmp_path / "rows.parquet")
    with pytest.raises(UsageError, match=r"x: values of type binary cannot be watched \(use numbers, texts"):
        reference_from_file(tmp_path / "rows.parquet", PLAIN)


@pytest.mark.parametrize("page", ["references.md", "library.md"])
def test_examples_of_the_pages_for_notebooks(page):
    result = doctest.testfile(str(DOCS / page), module_relative=False, encoding="utf-8")
    assert result.attempted > 3
    assert result.failed == 0


def test_row_labels_that_pandas_wrote_are_no_feature(tmp_path):
    frame = pd.DataFrame({"x": [1.0, 2.0, 3.0]}, index=[7, 3, 5])
    frame.to_parquet(tmp_path / "rows.parquet")
    assert "__index_level_0__" in pq.read_schema(tmp_path / "rows.parquet").names
    assert reference_from_file(tmp_path / "rows.parquet", PLAIN).tensor.layout.columns == ("x",)
