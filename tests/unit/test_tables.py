"""Tables: header, delimiter, numbers, missing values, ids, copies of the target."""

import bz2
import contextlib
import gzip
import io
import lzma
import re
import sys
import time
import zipfile
from decimal import Decimal
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyarrow import feather

from tests.support.tables import reader, refusal
from tsnn.datasets import load_dataset, make_dataset
from tsnn.datasets.raw import TableOptions
from tsnn.datasets.sources import obtain
from tsnn.errors import ConfigError, DataError

read = pytest.fixture(reader, name="read")


def lines(n, line):
    return "".join(line(i) + "\n" for i in range(n))


def letter(i):
    return "ABC"[i % 3]


# --- size --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_wide_table__is_read_for_any_length_of_the_first_line(delimiter, read):
    header = delimiter.join([*(f"gene_{i:06d}" for i in range(11_000)), "y"])
    rng = np.random.default_rng(0)
    values = rng.normal(size=(6, 11_000)).round(3)
    rows = [delimiter.join([*map(str, row), str(i % 2)]) for i, row in enumerate(values)]
    raw = read("\n".join([header, *rows]))
    assert raw.feature_names[-1] == "gene_010999"
    np.testing.assert_array_equal(raw.x, values)
    assert raw.y.tolist() == [0, 1, 0, 1, 0, 1]


@pytest.mark.slow
def test_wide_table__of_22283_genes_takes_seconds(read):
    rng = np.random.default_rng(0)
    stream = io.StringIO()
    pd.DataFrame(rng.normal(size=(104, 22_283)).astype(np.float32)).assign(y=np.arange(104) % 2).to_csv(
        stream, index=False
    )
    started = time.process_time()
    raw = read(stream.getvalue())
    assert raw.x.shape == (104, 22_283)
    assert time.process_time() - started < 15


# --- header ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "n", "names"),
    [
        (lines(20, lambda i: f"{i + 0.5},{i},{letter(i)}"), 20, None),
        (lines(20, lambda i: f"{'MFI'[i % 3]},{i * 0.5},{i % 4}"), 20, None),  # abalone
        (lines(20, lambda i: f"{5.1 - i % 7 / 10:.1f},3.{i % 5},1.4,0.{i % 3},Iris-{letter(i)}"), 20, None),
        (lines(20, lambda i: f"{'pxs'[i % 3]},{'xb'[i % 2]},{'sy'[i // 2 % 2]}"), 20, None),  # mushroom
        (lines(20, lambda i: f"{i},{i + 5},{letter(i)}x{i // 3}"), 20, None),
        (lines(20, lambda i: f"{39 + i * 7 % 20}, State-gov, {77516 + i * 991}, {'<>'[i % 2]}=50K"), 20, None),
        ("400,402,404\n" + lines(20, lambda i: f"{i * 7 % 20},{i * 3 % 20},{i % 3}"), 20, ["400", "402"]),
        ("100.5,200.25,404.7,kind\n" + lines(20, lambda i: f"{i * 7 % 9},{i * 3 % 9},{i % 5},{i % 3}"), 20, ["100.5"]),
        ("1,2,3\n" + lines(20, lambda i: f"{i * 7 % 20 / 8},{i * 3 % 20 / 8},{i % 3}"), 20, ["1", "2"]),
        ("0,1,2,3,4,5\n" + lines(20, lambda i: f"{i % 7},{i % 5},{i % 4},{i % 9},{i % 6},{i % 3}"), 20, ["0", "1"]),
        ("id,2019,2020,y\n" + lines(20, lambda i: f"{i},{i % 7},{i % 5},{i % 3}"), 20, None),
        ("class," + ",".join(str(400 + 2 * j) for j in range(8)) + "\n"
         + lines(20, lambda i: letter(i) + "," + ",".join(str(i * j * 37 % 700) for j in range(8))),
         20, ["class=A", "class=B", "class=C", "400"]),
        ("2019,2020,label\n" + lines(20, lambda i: f"{i % 7},{i % 5},{letter(i)}"), 20, ["2019", "2020"]),
        (",0,1,2,y\n" + lines(20, lambda i: f"{i},{i % 7 / 3},{i % 5 / 3},{i % 4 / 3},{i % 2}"), 20, ["0", "1", "2"]),
        ("colour,shape\n" + lines(20, lambda i: f"{'rgb'[i % 3]},{'xo'[i // 2 % 2]}"), 20, ["colour=b"]),
        ("a,b,y\n" + lines(20, lambda i: f"{i % 7},{letter(i)},{i % 2}"), 20, ["a", "b=A"]),
        (lines(20, lambda i: f"{i},{i + 10},{i + 20},{i % 3}"), 20, ["column 1"]),
    ],
)  # fmt: skip
def test_header__is_found_by_the_cells_below(content, n, names, read):
    raw = read(content)
    assert len(raw.y) == n
    if names is None:
        assert ("no header" in raw.source) == (not content.startswith("id"))
    else:
        assert list(raw.feature_names[: len(names)]) == names


def test_header__is_named_in_the_source(read):
    raw = read("0.5,0,A\n1.5,1,B\n2.5,2,A\n3.5,1,B\n")
    assert raw.feature_names == ("column 0", "column 1")
    assert "no header: columns are called 'column 0'" in raw.source
    assert raw.y.tolist() == ["A", "B", "A", "B"]


def test_header__may_be_set(read):
    content = "0,1,1\n1,0,0\n0,0,1\n1,1,0\n1,0,1\n"
    assert len(read(content, header="false").y) == 5
    assert read("0,1,2\n1,0,0\n0,0,1\n1,2,0\n1,0,1\n", header="true").feature_names == ("0", "1")


def test_header__is_refused_where_it_cannot_be_told(read):
    assert "data.header" in refusal(read, "0,1,2\n1,0,0\n0,2,1\n1,1,0\n2,0,1\n0,1,1\n")
    inside = lines(20, lambda i: f"{i * 37 % 1000},{i * 31 % 900},{i * 11 % 800},{i * 7 % 700},{i * 3 % 600}")
    assert "data.header" in refusal(read, "100.05,101.07,105.3,110.2,115\n" + inside)
    assert len(read("100.05,101.07,105.3,110.2,115,kind\n" + inside.replace("\n", ",x\n")).y) == 20
    assert "data.header" in refusal(read, "1,5000\n" + lines(20, lambda i: f"{500 + i * 7 % 20},{i % 5}"))
    assert "data.header" in refusal(read, "5,unsure,3\n" + lines(20, lambda i: f"{i},{i % 4},{i % 5}"))


def test_short_header__of_r_names_the_rows(read):
    raw = read("a b y\n" + lines(12, lambda i: f'"r{i}" {i / 4} {i % 5} {i % 2}'), name="t.txt")
    assert raw.feature_names == ("a", "b")
    assert "dropped" in raw.warnings[0]
    comma = read('"a","y"\n' + lines(12, lambda i: f'"{i + 1}",{i / 4},{i % 2}'))
    assert comma.feature_names == ("a",)


def test_trailing_delimiter__gives_no_column(read):
    raw = read("a,b,y,\n" + lines(12, lambda i: f"{i / 4},{i % 5},{i % 2},"), target="y")
    assert raw.feature_names == ("a", "b")
    raw = read("a,b,y\n" + lines(12, lambda i: f"{i / 4},{i % 5},{i % 2},"), target="y")
    assert raw.feature_names == ("a", "b")


# --- delimiter, encoding, compression ----------------------------------------------------------------

PLANTS = "height,colour,kind\n" + lines(12, lambda i: f"{i + 0.5},{'red' if i % 4 < 2 else 'blue'},{'ab'[i % 2]}")


@pytest.mark.parametrize(
    ("content", "separator"),
    [
        (PLANTS.replace(",", "|"), "auto"),
        (PLANTS.replace(",", "   "), "auto"),
        (PLANTS.replace(",", "\t"), "auto"),
        ("sep=;\n" + PLANTS.replace(",", ";"), "auto"),
        ("sep=,\n" + PLANTS, "auto"),
        (PLANTS.replace(",", ":"), ":"),
        (PLANTS.replace(",", ";"), "semicolon"),
        (PLANTS.replace(",", " "), "blanks"),
        (PLANTS.replace(",", "\t"), r"\t"),
        (PLANTS.replace(",", '","').replace("\n", '"\n"').rstrip('"').join(['"', ""]), "auto"),
        (PLANTS.encode("utf-16-le"), "auto"),
        (PLANTS.encode("utf-16-be"), "auto"),
        (PLANTS.encode("utf-32"), "auto"),
        (PLANTS.replace("\n", "\r"), "auto"),
        ("\n\n" + PLANTS + "\n\n", "auto"),
    ],
)
def test_dialects__give_the_same_table(content, separator, read):
    raw = read(content, separator=separator)
    assert raw.feature_names == ("height", "colour=blue", "colour=red")
    assert raw.x[:, 0].tolist() == [i + 0.5 for i in range(12)]
    assert raw.y.tolist() == ["a", "b"] * 6


def packed(content):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("plants.csv", content)
    return stream.getvalue()


@pytest.mark.parametrize(
    ("name", "pack"),
    [
        ("plants.csv.gz", gzip.compress),
        ("plants.tsv.bz2", bz2.compress),
        ("plants.data.xz", lzma.compress),
        ("plants.zip", packed),
        ("plants.txt", bytes),
        ("plants.data", bytes),
    ],
)
def test_compressed_tables__are_read(name, pack, read):
    raw = read(pack(PLANTS.encode()), name=name)
    assert raw.name == "plants"
    assert raw.x.shape == (12, 3)


def test_compressed_tables__damaged_or_of_another_kind_are_refused(read):
    assert "cannot be read" in refusal(read, gzip.compress(PLANTS.encode())[:-30], name="t.csv.gz")
    assert "cannot be read" in refusal(read, b"no archive", name="t.zip")
    assert "only text tables" in refusal(read, gzip.compress(b"x"), name="t.npz.gz")
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("a.csv", "x")
        archive.writestr("b.csv", "x")
    assert "holds 2 files (a.csv, b.csv)" in refusal(read, stream.getvalue(), name="t.zip")
    assert "no text" in refusal(read, b"a,b\n\x00\x01,2\n", name="t.csv")


def test_other_files__are_refused_by_their_suffix(read):
    assert "is no file that can be read: expected .npy, .npz, .csv" in refusal(read, "{}", name="t.json")


def test_lines__ragged_ones_are_named(read):
    assert "line 5: 2 fields, expected 3" in refusal(read, 'a,b,c\n1,"2\n2",3\n4,5,6\n7,8\n')
    assert "does not end" in refusal(read, 'a,b,c\n1,2,3\n4,5,"6\n7,8,9\n')
    assert "line 4" in refusal(read, "sep=;\na;b;c\n1;2;3\n4;5\n6;7;8\n")
    assert "line 1: 1 fields, but the lines below have 3" in refusal(read, "note\na,b,c\n1,2,3\n4,5,6\n")
    assert "line 3: 2 fields" in refusal(read, "1,2,3\n4,5,6\n7,8\n9,10,11\n")
    many = "a,b,y\n" + lines(3000, lambda i: f"{i % 7},{i % 5},{i % 2}")
    assert "line 3002: 4 fields" in refusal(read, many + "1,2,3,4\n")
    assert "2 names, but the lines below have 3 fields" in refusal(read, "a,b\n1,2,3\n1,5,6\n")


# --- numbers -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("mark", ["?", "-", "--", ".", "na", "n.a.", "NA", "null", "None", "#N/A", "", " ? "])
def test_missing_marks__keep_a_column_of_numbers(mark, read):
    content = "a,b,y\n" + lines(9, lambda i: f"{i},{i % 4},{i % 2}") + f"{mark},1,0\n"
    message = refusal(read, content)
    holds = f"holds '{mark.strip()}'" if mark else "is empty"
    assert f"1 value is missing: row 9 of column 'a' {holds}" in message
    raw = read(content, missing="fill")
    assert raw.feature_names == ("a", "b")
    assert raw.columns[0].kind == "number"
    assert raw.columns[0].missing == 1
    assert read(content, missing="drop_rows").x.tolist() == [[i, i % 4] for i in range(9)]


@pytest.mark.parametrize("cell", ["missing", "unknown", "*", "<LOD", "#DIV/0!", "90+", "3.5.1", "1 000 kg"])
def test_stray_cells__in_a_column_of_numbers_are_named(cell, read):
    content = "a,b,y\n" + lines(9, lambda i: f"{i},{i % 4},{i % 2}") + f"{cell},1,0\n"
    assert f"row 9 of column 'a' holds '{cell}'" in refusal(read, content)
    assert read(content, drop=["a"]).feature_names == ("b",)
    filled = read(content, missing_marks=[cell], missing="fill")
    assert np.isnan(filled.x[9, 0])
    late = "a,b,y\n" + lines(500, lambda i: f"{i % 3},{i % 4},{i % 2}") + f"{cell},1,0\n"
    assert f"row 500 of column 'a' holds '{cell}'" in refusal(read, late)


def test_stray_cells__in_the_target_are_missing_or_named(read):
    content = "a,y\n" + lines(12, lambda i: f"{i / 4},{'no' if i % 2 else 'yes '}") + "1,?\n"
    assert "row 12 of column 'y'" in refusal(read, content)
    raw = read(content, missing="drop_rows")
    assert raw.y.tolist() == ["yes", "no"] * 6
    assert "row 12 of column 'y' holds '90+'" in refusal(
        read, content.replace("no", "1").replace("yes", "2").replace("?", "90+")
    )
    cases = read("a,y\n" + lines(12, lambda i: f"{i / 4},{('Yes', 'yes', 'no')[i % 3]}"))
    assert cases.warnings == ("Labels 'Yes' and 'yes' of 'y' are different classes.",)
    mixed = read("a,y\n" + lines(32, lambda i: f"{i / 4},{i % 16:x}"))
    assert sorted(set(mixed.y.tolist())) == sorted("0123456789abcdef")


@pytest.mark.parametrize(
    ("cells", "right"),
    [
        (["950", "1,000", "1,050"], [950, 1000, 1050]),
        (["1,000,000", "2,500", "3"], [1_000_000, 2500, 3]),
        (["1,234.5", "2,000", "0.5"], [1234.5, 2000, 0.5]),
        (["3,5", "1", "2"], [3.5, 1, 2]),
        (["0,125", "1,250", "2"], [0.125, 1.25, 2]),
        (["1.234,5", "2.000", "3"], [1234.5, 2000, 3]),
        (["-3,25", "+1,5", ",5"], [-3.25, 1.5, 0.5]),
        (["1,5e3", "2", "1"], [1500, 2, 1]),
        (["0.5", "1e3", " 2 "], [0.5, 1000, 2]),
        (["1234,567", "1,5", "2"], [1234.567, 1.5, 2]),
        (["1 000", "12 500,5", "3"], [1000, 12500.5, 3]),
        (["1'000", "2'500", "3"], [1000, 2500, 3]),
        (["\u22120.5", "1", "2"], [-0.5, 1, 2]),
    ],
)  # fmt: skip
@pytest.mark.parametrize("delimiter", [";", "\t", ","])
def test_marks_in_numbers__are_decided_over_the_whole_column(cells, right, delimiter, read):
    cells = [f'"{cell}"' for cell in cells] if delimiter == "," else cells
    content = f"price{delimiter}y\n" + lines(300, lambda i: f"{1 + i % 3}{delimiter}{i % 2}")
    content += "".join(f"{cell}{delimiter}{i % 2}\n" for i, cell in enumerate(cells))
    raw = read(content)
    assert raw.x[-3:, 0].tolist() == right
    swapped = f"y{delimiter}price\n" + lines(3, lambda i: f"{i % 2 + 0.5}{delimiter}{cells[i]}") * 5
    assert read(swapped).y[:3].tolist() == right


@pytest.mark.parametrize("cells", [["1,000", "1500", "3"], ["3,5", "0.5", "1"], ["1,234", "2,345", "3,456"]])
def test_marks_in_numbers__are_refused_where_ambiguous(cells, read):
    message = refusal(read, "price;y\n" + lines(30, lambda i: f"{cells[i % 3]};{i % 2}"))
    assert "column 'price'" in message
    assert "decimal" in message


def test_marks_in_numbers__of_one_text_cell_do_not_matter_elsewhere(read):
    rows = lines(30, lambda i: f"{('low', 'high', '10,20')[i % 3]};{i / 8};{i % 2}")
    raw = read("a;b;y\n" + rows)
    assert raw.feature_names == ("a=10,20", "a=high", "a=low", "b")
    assert raw.x[:, 3].tolist() == [i / 8 for i in range(30)]


def test_marks_in_numbers__a_point_next_to_decimal_commas_is_refused(read):
    content = "a;b;y\n" + lines(30, lambda i: f"{1 + i % 9}.{i * 37 % 1000:03d};{i},5;{i % 2}")
    assert "the point may be a thousands mark" in refusal(read, content)
    raw = read("a;b;y\n" + lines(30, lambda i: f"{i / 8};{i},5;{i % 2}"))
    assert raw.x[:2].tolist() == [[0, 0.5], [0.125, 1.5]]


def test_categories__hold_no_numbers(read):
    raw = read("a,b,y\n" + lines(20, lambda i: f"{('red', ' blue', 'blue ')[i % 3]},{i / 4},{i % 2}"))
    assert raw.feature_names == ("a=blue", "a=red", "b")
    assert raw.columns[0].note == "blue, red"
    message = refusal(read, "a,b,y\n" + lines(20, lambda i: f"{('2', '4', 'more')[i % 3]},{i / 4},{i % 2}"))
    assert "row 2 of column 'a' holds 'more'" in message
    assert "numbers with a mark" in refusal(read, "a,b,y\n" + lines(20, lambda i: f"{i % 4}0%,{i / 4},{i % 2}"))
    assert "numbers with a mark" in refusal(read, "a,b,y\n" + lines(20, lambda i: f"{i} kg,{i / 4},{i % 2}"))
    assert "numbers with a mark" in refusal(read, "a,y\n" + lines(20, lambda i: f"{i / 4},{i % 5}%"))
    assert "brackets" in refusal(read, "a,b,y\n" + lines(20, lambda i: f'"[0, {i % 3}]",{i / 4},{i % 2}'))
    assert "a=18-25" in read("a,y\n" + lines(20, lambda i: f"{('18-25', '26-35', '65+')[i % 3]},{i % 2}")).feature_names
    assert "several marks" in refusal(read, "a;b;y\n" + lines(20, lambda i: f"1,{i + 10},000;{i / 4};{i % 2}"))
    assert "dates" in refusal(read, "a,b,y\n" + lines(20, lambda i: f"2020-01-0{1 + i % 4},{i / 4},{i % 2}"))


def test_categories__a_missing_text_is_one_when_filled(read):
    content = "a,b,y\n" + lines(20, lambda i: f"{('red', 'blue', '?')[i % 3]},{i / 4},{i % 2}")
    assert "6 values are missing" in refusal(read, content)
    raw = read(content, missing="fill")
    assert raw.feature_names == ("a=blue", "a=red", "a missing", "b")
    assert raw.x[:3, :3].tolist() == [[0, 1, 0], [1, 0, 0], [0, 0, 1]]
    assert read(content, missing_marks=["NA"]).feature_names[:3] == ("a=?", "a=blue", "a=red")


def test_booleans__are_numbers_with_missing_ones_too(read):
    content = "a,b,y\n" + lines(12, lambda i: f"{i % 3 == 0},{i / 4},{i % 2}")
    assert read(content).x[:, 0].tolist() == [i % 3 == 0 for i in range(12)]
    assert np.isnan(read(content + ",1,1\n", missing="fill").x[12, 0])


# --- missing values, filled after the split ----------------------------------------------------------


def test_fill__takes_the_median_of_the_training_part_only(tmp_path):
    x = np.array([*range(10), *range(100, 110)], dtype=float)[:, None] * [1, 2]
    x[3, 0] = x[15, 1] = np.nan
    data = make_dataset(
        x[:10], np.arange(10) % 2, x[10:], np.arange(10) % 2, missing="fill", preprocessing="none",
    )  # fmt: skip
    assert data.medians.tolist() == [np.median([*range(3), *range(4, 10)]), 9]
    assert data.x_train.values[3, 0] == data.medians[0]
    assert data.x_test.values[5, 1] == 9
    np.savez(tmp_path / "t.npz", X=x, y=np.arange(20) % 2)
    with pytest.raises(DataError, match="missing='fill'"):
        load_dataset(tmp_path / "t.npz", rng=np.random.default_rng(0))
    data = load_dataset(tmp_path / "t.npz", rng=np.random.default_rng(0), missing="drop_rows")
    assert len(data.y_train) + len(data.y_test) == 18
    assert "2 of 20 rows" in data.warnings[0]


def test_fill__works_from_file_to_features(tmp_path):
    (tmp_path / "t.csv").write_text("a,b,y\n" + lines(40, lambda i: f"{'' if i % 5 == 0 else i},{i % 4},{'ab'[i % 2]}"))
    data = load_dataset(tmp_path / "t.csv", rng=np.random.default_rng(0), missing="fill")
    assert np.isfinite(data.x_train.values).all()
    assert any("Missing values (8) are filled" in warning for warning in data.warnings)


def test_missing_target__drops_the_row(read):
    raw = read("a,y\n" + lines(12, lambda i: f"{i / 4},{i % 3}") + "1,\n", missing="fill")
    assert len(raw.y) == 12
    assert "1 of 13 rows with a missing target" in raw.warnings[0]
    assert "no row is complete" in refusal(
        read, "a,b,y\n" + lines(9, lambda i: f",{i},{i % 2}") + "1,,1\n", missing="drop_rows"
    )


# --- leaks -------------------------------------------------------------------------------------------


def noise(n=40):
    rng = np.random.default_rng(3)
    return pd.DataFrame({"a": rng.normal(size=n), "b": rng.normal(size=n), "label": rng.integers(0, 2, n)})


def text_of(frame, **options):
    stream = io.StringIO()
    frame.to_csv(stream, **options)
    return stream.getvalue()


def test_duplicate_names__are_refused(read):
    content = "a,label,b,label\n" + lines(9, lambda i: f"{i},{i % 2},{i % 4},{i % 2}")
    for target in ("label", None):
        message = refusal(read, content, target=target)
        assert "2 columns called 'label' (columns 1, 3" in message
    stream = io.BytesIO()
    pq.write_table(pa.Table.from_arrays([pa.array(range(9))] * 3, names=["a", "label", "label"]), stream)
    assert "2 columns called 'label'" in refusal(read, stream.getvalue(), name="t.parquet")


@pytest.mark.parametrize("order", ["sorted", "as it was", "sample"])
def test_index__of_a_dataframe_is_dropped(order, read):
    frame = noise()
    frame = frame.sort_values("label") if order == "sorted" else frame
    frame = frame.sample(20, random_state=0) if order == "sample" else frame
    raw = read(text_of(frame))
    assert raw.feature_names == ("a", "b")
    assert "'column 0' is no feature and was dropped" in raw.warnings[0]
    again = read(text_of(frame.reset_index().rename(columns={"index": "Unnamed: 0"}), index=False))
    assert again.feature_names == ("a", "b")
    frame.to_parquet(stream := io.BytesIO())
    assert read(stream.getvalue(), name="t.parquet").feature_names == ("a", "b")


def test_row_names__of_r_are_dropped(read):
    raw = read('"","a","b","y"\n' + lines(15, lambda i: f'"{i + 1}",{i / 4},{i % 4},{i % 2}'))
    assert raw.feature_names == ("a", "b")


@pytest.mark.parametrize("name", ["id", "ID", "sample_id", "PassengerId", "customerID", "index", "rownames", "row"])
def test_ids__are_dropped(name, read):
    raw = read(f"{name},a,y\n" + lines(15, lambda i: f"{900 + i * 7 % 15},{i / 4},{i % 2}"))
    assert raw.feature_names == ("a",)
    assert raw.columns[0].kind == "dropped"
    text = read(f"{name},a,y\n" + lines(15, lambda i: f"p{i},{i / 4},{i % 2}"))
    assert text.feature_names == ("a",)


def test_ids__that_repeat_and_counters_are_kept_with_a_warning(read):
    raw = read("patient_id,time,a,y\n" + lines(20, lambda i: f"{i // 2},{i},{i * 7 % 4},{i % 2}"))
    assert raw.feature_names == ("patient_id", "time", "a")
    assert "named like an id" in raw.warnings[0]
    assert "'time' counts the rows" in raw.warnings[1]
    bare = read(lines(20, lambda i: f"{1000 + i * 7 % 20},{i * 7 % 4},{i % 2}"))
    assert "'column 0' differs in every row" in bare.warnings[0]
    counted = read(lines(20, lambda i: f"{i + 1},{i * 7 % 4},{i % 2}"))
    assert counted.feature_names == ("column 1",)
    fine = read("grid,acid,idea,y\n" + lines(20, lambda i: f"{i},{i * 2},{i * 3},{i % 2}"))
    assert fine.feature_names == ("grid", "acid", "idea")


def test_copies_of_the_target__are_dropped(read):
    raw = read("code,half,a,y\n" + lines(20, lambda i: f"{7 + i % 3},{'xyz'[i % 3]},{i / 4},{letter(i)}"))
    assert raw.feature_names == ("a",)
    assert "'code', 'half' is no feature and was dropped: a copy of the target 'y'" in raw.warnings[0]
    raw = read("again,double,a,y\n" + lines(30, lambda i: f"{i / 8},{i / 4},{i % 4},{i / 8}"))
    assert raw.feature_names == ("double", "a")
    assert "no column of features left" in refusal(read, "a,y\n" + lines(20, lambda i: f"{i % 2},{i % 2}"))


def test_drop__leaves_columns_out(read):
    content = "a,b,c,y\n" + lines(12, lambda i: f"{i / 4},x{i},{i % 3},{i % 2}")
    raw = read(content, drop=["b", "y"])
    assert raw.feature_names == ("a",)
    assert "target: last column 'c'" in raw.source
    assert [column.kind for column in raw.columns] == ["number", "dropped", "target", "dropped"]
    assert "Did you mean 'b'" in refusal(read, content, drop=["bb"])
    assert "cannot be in data.drop" in refusal(read, content, drop=["y"], target="y")


# --- features in rows --------------------------------------------------------------------------------


def test_transpose__takes_genes_from_rows(read):
    genes = lines(30, lambda i: f"g{i}," + ",".join(str((i * j) % 7 / 4) for j in range(1, 9)))
    content = "gene," + ",".join(f"GSM{j}" for j in range(8)) + "\n" + genes
    assert "data.transpose=true" in read(content).warnings[0]
    raw = read(content + "class," + ",".join("ab" * 4) + "\n", transpose=True)
    assert raw.feature_names == tuple(f"g{i}" for i in range(30))
    assert raw.x.shape == (8, 30)
    assert raw.x[2].tolist() == [(i * 3) % 7 / 4 for i in range(30)]
    assert raw.y.tolist() == list("ab" * 4)


# --- Parquet, Feather, ARFF, Excel -------------------------------------------------------------------


def parquet(**columns):
    stream = io.BytesIO()
    pq.write_table(pa.table(columns), stream)
    return stream.getvalue()


N = 12
Y = pa.array([i % 2 for i in range(N)])


@pytest.mark.parametrize(
    ("column", "right"),
    [
        (pa.array([Decimal(f"{i % 4 / 4:.2f}") for i in range(N)]), [i % 4 / 4 for i in range(N)]),
        (pa.array([Decimal(f"{i}.25") for i in range(N)]), [i + 0.25 for i in range(N)]),
        (pa.array(np.arange(N, dtype=np.float16) % 4), [i % 4 for i in range(N)]),
        (pa.array([i % 5 for i in range(N)]).dictionary_encode(), [i % 5 for i in range(N)]),
        (pa.array([str(i % 5) for i in range(N)]).dictionary_encode(), [i % 5 for i in range(N)]),
        (pa.array([i % 3 == 0 for i in range(N)]), [i % 3 == 0 for i in range(N)]),
        (pa.array([i % 5 for i in range(N)], pa.uint8()), [i % 5 for i in range(N)]),
    ],
)
def test_parquet__numbers_of_any_type(column, right, read):
    assert read(parquet(p=column, y=Y), name="t.parquet").x[:, 0].tolist() == right


def test_parquet__decimal_target_is_a_number(tmp_path):
    (tmp_path / "t.parquet").write_bytes(parquet(a=Y, y=pa.array([Decimal(f"{i}.25") for i in range(N)])))
    data = load_dataset(tmp_path / "t.parquet", rng=np.random.default_rng(0))
    assert data.task == "regression"


def test_parquet__nulls_are_missing(read):
    for values in (
        [None, *range(1, N)],
        [None, *[True, True, False] * 3, True, False],
        [None, *[Decimal("0.5")] * (N - 1)],
    ):
        content = parquet(p=pa.array(values), q=pa.array(range(5, 5 + N)), y=Y)
        assert "row 0 of column 'p'" in refusal(read, content, name="t.parquet")
        assert read(content, name="t.parquet", missing="drop_rows").x.shape == (N - 1, 2)


@pytest.mark.parametrize(
    "column",
    [
        pa.array([i % 3 for i in range(N)], pa.date32()),
        pa.array([i % 3 for i in range(N)], pa.time64("us")),
        pa.array([i % 3 for i in range(N)], pa.timestamp("s")),
        pa.array([i % 3 for i in range(N)], pa.duration("s")),
        pa.array([b"a", b"b"] * 6),
        pa.array([[0.0, 1.0]] * N),
        pa.array([{"k": 0}] * N),
    ],
)
def test_parquet__other_types_are_refused_by_name(column, read):
    content = parquet(p=column, q=pa.array([i / 4 for i in range(N)]), y=Y)
    message = refusal(read, content, name="t.parquet")
    kind = re.match(r"\w+", str(column.type))[0]
    assert f"column 'p' has the type {kind}" in message
    assert "data.drop=p" in message
    assert read(content, name="t.parquet", drop=["p"]).feature_names == ("q",)
    assert f"column 'p' has the type {kind}" in refusal(read, content, name="t.parquet", target="p")


def test_parquet__lists_of_one_size_are_columns(read):
    column = pa.array([[i / 4, i % 3] for i in range(N)], pa.list_(pa.float32(), 2))
    raw = read(parquet(v=column, y=Y), name="t.parquet")
    assert raw.feature_names == ("v[0]", "v[1]")
    assert raw.x.tolist() == [[i / 4, i % 3] for i in range(N)]


def test_folder__of_parquet_parts_is_one_table(tmp_path):
    folder = tmp_path / "table"
    folder.mkdir()
    (folder / "_SUCCESS").write_text("")
    (folder / "part-0.parquet").write_bytes(parquet(a=pa.array([i / 4 for i in range(N)]), y=Y))
    (folder / "part-1.parquet").write_bytes(parquet(a=pa.array([i / 8 for i in range(N)]), y=Y))
    raw = obtain(folder)
    assert (raw.name, raw.x.shape) == ("table", (2 * N, 1))
    folder.rename(folder.with_suffix(".parquet"))
    folder = folder.with_suffix(".parquet")
    assert obtain(folder).x.shape == (2 * N, 1)
    (folder / "part-2.parquet").write_bytes(parquet(b=Y, y=Y))
    with pytest.raises(DataError, match=r"part-2\.parquet has other columns than part-0\.parquet"):
        obtain(folder)
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"holds no \.parquet files"):
        obtain(tmp_path / "empty")


def test_feather__equals_csv(read, tmp_path):
    frame = pd.read_csv(io.StringIO(PLANTS))
    feather.write_feather(frame, str(tmp_path / "t.feather"))
    one, other = obtain(tmp_path / "t.feather"), read(PLANTS)
    np.testing.assert_array_equal(one.x, other.x)
    assert (one.feature_names, one.y.tolist()) == (other.feature_names, other.y.tolist())


def test_arff__is_read(read):
    content = "% note\n@relation t\n@attribute 'a b' numeric\n@attribute c {red, 'dark blue'}\n"
    content += "@attribute class {x,y}\n@data\n"
    rows = lines(12, lambda i: f"{i / 4},{('red', chr(39) + 'dark blue' + chr(39))[i // 2 % 2]},{'xy'[i % 2]}")
    raw = read(content + rows, name="t.arff")
    assert raw.feature_names == ("a b", "c=dark blue", "c=red")
    assert raw.y.tolist() == list("xy" * 6)
    assert "row 12 of column 'a b'" in refusal(read, content + rows + "?,red,x\n", name="t.arff")
    assert "sparse" in refusal(read, content + "{0 1}\n", name="t.arff")
    assert "data.header was set" in refusal(read, content + rows, name="t.arff", header="true")


def test_excel__is_read_like_text(read, monkeypatch):
    rows = [["a", "c", "y"], *([i / 4, "rb"[i // 2 % 2], i % 2] for i in range(12))]
    book = contextlib.nullcontext(SimpleNamespace(sheet_names=["only"]))
    monkeypatch.setattr(pd, "ExcelFile", lambda *_, **__: book)
    monkeypatch.setattr(pd, "read_excel", lambda *_, **__: pd.DataFrame(rows, dtype=object))
    raw = read(b"PK", name="t.xlsx")
    assert raw.feature_names == ("a", "c=b", "c=r")
    assert raw.y.tolist() == [0, 1] * 6


def test_excel__needs_openpyxl(read, monkeypatch):
    monkeypatch.setitem(sys.modules, "openpyxl", None)
    assert "needs the package openpyxl" in refusal(read, packed("x"), name="t.xlsx")


# --- targets -----------------------------------------------------------------------------------------


def test_one_hot_targets__are_classes(tmp_path):
    rng = np.random.default_rng(0)
    x, codes = rng.normal(size=(40, 3)), np.arange(40) % 5
    np.savez(tmp_path / "t.npz", X_train=x, y_train=np.eye(5)[codes], X_test=x[:10], y_test=np.eye(5)[codes[:10]])
    data = load_dataset(tmp_path / "t.npz", rng=rng)
    assert (data.task, data.n_outputs, data.class_names) == ("classification", 5, tuple("01234"))
    assert data.y_train.tolist() == codes.tolist()
    assert "one-hot targets, taken as classes" in data.source
    assert make_dataset(x, np.eye(5)[codes], task="multilabel", rng=rng).task == "multilabel"
    many = np.eye(5)[codes]
    many[0, 1] = 1
    assert make_dataset(x, many, rng=rng).task == "multilabel"


def test_labels_of_arrays__are_stripped_and_never_missing(tmp_path):
    x = np.arange(24.0).reshape(12, 2)
    np.savez(tmp_path / "t.npz", X=x, y=np.array(["yes ", "no", "yes"] * 4))
    assert load_dataset(tmp_path / "t.npz", rng=np.random.default_rng(0)).class_names == ("no", "yes")
    np.savez(tmp_path / "t.npz", X=x, y=np.array(["yes ", "no", "?"] * 4))
    with pytest.raises(DataError, match="4 labels of y are missing, the first, '\\?', in row 2"):
        load_dataset(tmp_path / "t.npz", rng=np.random.default_rng(0))


def test_integers__that_look_like_quantities_are_doubted(tmp_path):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(60, 3))
    with pytest.raises(DataError, match=r"set data\.task=regression"):
        make_dataset(x, np.arange(60) * 3, rng=rng)
    assert "29 different whole numbers" in make_dataset(x, np.arange(60) % 29, rng=rng).warnings[0]
    assert make_dataset(x, np.arange(60) % 29, task="classification", rng=rng).warnings == ()
    assert make_dataset(x, np.arange(60) % 10, rng=rng).warnings == ()


# --- options -----------------------------------------------------------------------------------------


def test_options__of_tables_are_refused_for_other_data(tmp_path):
    rng = np.random.default_rng(0)
    for option in ({"drop": ["a"]}, {"header": "true"}, {"transpose": True}, {"separator": ";"}):
        with pytest.raises(DataError, match=f"data.{next(iter(option))} was given for madelon, but only tables"):
            load_dataset("madelon", rng=rng, **option)
    with pytest.raises(TypeError, match=r"no option 'heade'\. Did you mean 'header'"):
        load_dataset("madelon", rng=rng, heade="true")
    with pytest.raises(ConfigError, match="missing is 'mean'"):
        load_dataset("madelon", rng=rng, missing="mean")
    with pytest.raises(ConfigError, match=r"drop=\['id'\]"):
        TableOptions(drop="id")
