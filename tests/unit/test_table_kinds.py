"""Tables as other programs write them: each gives the right numbers, or one sentence with advice."""

import io
import math

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.support.tables import reader, refusal
from tsnn.datasets import load_dataset
from tsnn.datasets.lines import count_fields, read_records
from tsnn.datasets.sources import obtain
from tsnn.errors import DataError

read = pytest.fixture(reader, name="read")
N = 40
NOISE = np.random.default_rng(0).normal(size=(N, 2)).round(3).tolist()


def table(row, header="a,b,y"):
    """A header, and rows made from their number."""
    return "".join(
        line + "\n" for line in ([header] if header else []) + [",".join(map(str, row(i))) for i in range(N)]
    )


PLAIN = table(lambda i: (i * 7 % 11, f"{i * 5 % 13}.5", "AB"[i % 2]))


def is_plain(raw):
    return raw.feature_names == ("a", "b") and raw.x.shape == (N, 2) and raw.x[1].tolist() == [7, 5.5]


# --- around the table --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "content",
    [
        "# made by a program\n# 2020\n" + PLAIN,
        "# made by a program, version 4, on Monday\n" + PLAIN,
        "#" + PLAIN,
        "# " + PLAIN.replace("\n", "\n\n"),
        ",,\n" + PLAIN,
        PLAIN + ",,\n,,\n",
        PLAIN.replace("\n", ",\n"),
        PLAIN.replace("\n", ",,,\n"),
        PLAIN.replace("\n", ",\n").replace("y,\n", "y\n", 1),
        ("# " + PLAIN).replace(",", " "),
        "\ufeffsep=;\r\n" + PLAIN.replace(",", ";").replace("\n", "\r\n"),
        '"a",b,y\n' + PLAIN.removeprefix("a,b,y\n").replace("A", '"A"'),
        PLAIN.replace("\n", "\r"),
    ],
)
def test_text__around_the_table_is_no_part_of_it(content, read):
    raw = read(content)
    assert is_plain(raw)
    assert set(raw.y) == {"A", "B"}


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("My title\n" + PLAIN, "line 1: 1 fields, but the lines below have 3"),
        ("My title\n\nSource: a book\n" + PLAIN, "line 1: 1 fields, but the lines below have 3"),
        (PLAIN + "1,2\n", f"line {N + 2}: 2 fields, expected 3"),
        (PLAIN.replace("\n0,", "\n0,7,", 1), "line 2: 4 fields, expected 3"),
        (PLAIN.replace("\n", "\nkg,m,-\n", 1), "row 0 of column 'a' holds 'kg'"),
        (PLAIN + PLAIN, f"row {N} of column 'a' holds 'a'"),
        ("".join(f"{i % 2} 1:{i / 7} 3:{i / 9}\n" for i in range(9)), "sparse rows (libsvm)"),
    ],
)
def test_text__other_lines_are_named(content, sentence, read):
    assert sentence in refusal(read, content)


def test_colours__are_no_comments(read):
    raw = read(table(lambda i: (f"#{'abc'[i % 3]}F", i % 5 / 2, i % 2), header=""))
    assert raw.x.shape == (N, 4)


def test_lone_tab__among_blanks_is_one_of_them(read):
    raw = read("".join(f"{i / 4}   {i % 5}  3.5\tcar {i % 2}\n".replace("car ", "c") for i in range(N)))
    assert raw.x.shape == (N, 3)


def test_names__are_compared_without_odd_blanks(read):
    raw = read('"a\nlong name",b\u00a0c,y\n' + table(lambda i: (*NOISE[i], i % 2), header=""), target="y")
    assert raw.feature_names == ("a long name", "b c")
    assert "2 columns called 'b c'" in refusal(
        read, "b  c,b\u00a0c,y\n" + table(lambda i: (*NOISE[i], i % 2), header="")
    )


def test_records__join_quoted_lines_the_same_way_as_their_count():
    content = ['a,"b\n', 'c"\n', "\n", '"x ""y""",1\n', "1,2,3\n", '"open\n']
    expected = [(2, ["a", "b\nc"]), (4, ['x "y"', "1"]), (5, ["1", "2", "3"]), (-1, [])]
    assert list(read_records(content, ",")) == expected
    assert list(count_fields(content, ",")) == [(number, len(fields)) for number, fields in expected]


# --- cells -------------------------------------------------------------------------------------------


def test_minus_behind__a_number_is_one(read):
    raw = read(table(lambda i: (f'"{i},5{"-" if i % 2 else ""}"', *NOISE[i][:1], "AB"[i % 2])))
    assert raw.x[:3, 0].tolist() == [0.5, -1.5, 2.5]
    grades = read(table(lambda i: (f"{'abc'[i % 3]}-", NOISE[i][0], i % 2)))
    assert grades.feature_names[:3] == ("a=a-", "a=b-", "a=c-")


@pytest.mark.parametrize(
    ("cell", "kind"),
    [
        (lambda i: f"CHF {i % 4}.--", "a mark or unit"),
        (lambda i: f"'{i % 7}'", "a mark or unit"),
        (lambda i: f"{i % 5}/5", "fractions"),
        (lambda i: f"{i % 4 + 1:02d}.01.", "dates or times"),
        (lambda i: f"{i % 4 + 1} Jan 2020", "dates or times"),
        (lambda i: f"Dez-2{i % 4}", "dates or times"),
        (lambda i: f"2020-0{i % 4 + 1}", "dates or times"),
        (lambda i: f"12:{i % 4}0", "dates or times"),
        (lambda i: f"{i % 4 + 1}:30 pm", "dates or times"),
    ],
)
def test_disguised_numbers__are_no_categories(cell, kind, read):
    assert f"column 'a' holds {'numbers with ' * ('mark' in kind)}{kind}" in refusal(
        read, table(lambda i: (cell(i), NOISE[i][0], i % 2))
    )


def test_points__that_may_mark_thousands_are_doubted(read):
    raw = read(table(lambda i: (f"{900 + 37 * i:,}".replace(",", "."), NOISE[i][0], i % 2)))
    assert any("974 and 1.011: if the point is a thousands mark" in text for text in raw.warnings)
    for step in (0.125, 0.25, 0.01):
        fine = read(table(lambda i, step=step: (100 + (i * 7 % 40) * step, NOISE[i][0], i % 2)))
        assert not any("thousands" in text for text in fine.warnings)


@pytest.mark.parametrize("late", ["1,500", "x", "True", "?"])
def test_types__are_decided_over_all_parts_of_a_file(late, read, monkeypatch):
    monkeypatch.setattr("tsnn.datasets.text._PART_CHARACTERS", 100)
    cells = [str(800 + i) for i in range(N - 1)] + [late]
    content = table(lambda i: (f'"{cells[i]}"', NOISE[i][0], "AB"[i % 2]))
    if late == "1,500":
        raw = read(content)
        assert raw.x[-2:, 0].tolist() == [800 + N - 2, 1500]
        assert np.array_equal(raw.x[:, 1], [row[0] for row in NOISE])
    elif late == "?":
        assert "1 value is missing" in refusal(read, content)
    else:
        assert f"row {N - 1} of column 'a' holds '{late}'" in refusal(read, content)


def test_parts__of_text_and_booleans_are_joined(read, monkeypatch):
    monkeypatch.setattr("tsnn.datasets.text._PART_CHARACTERS", 100)
    raw = read(
        table(lambda i: (i % 2 == 0, "uvw"[i % 3] if i > 20 else "", NOISE[i][0], "AB"[i // 20]), "a,b,c,y"),
        missing="fill",
    )
    assert raw.feature_names == ("a", "b=u", "b=v", "b=w", "b missing", "c")
    assert raw.x[:3, 0].tolist() == [1, 0, 1]


# --- which column is what ----------------------------------------------------------------------------


def test_one_hot_target__of_a_table_is_classes_and_no_feature(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text(table(lambda i: (*NOISE[i], *(int(i % 3 == k) for k in range(3))), "a,b,red,green,blue"))
    data = load_dataset(path, rng=np.random.default_rng(0))
    assert (data.feature_names, data.class_names) == (("a", "b"), ("blue", "green", "red"))
    assert any("'red', 'green', 'blue' hold a single 1 in each row" in text for text in data.warnings)
    one = load_dataset(path, target="green", rng=np.random.default_rng(0))
    assert (one.feature_names, one.n_outputs) == (("a", "b"), 2)


def test_copy_of_the_target__is_found_despite_missing_cells(read):
    content = table(lambda i: (NOISE[i][0], "" if i == 5 else i % 3 + 7, "abc"[i % 3]))
    assert read(content, missing="fill").feature_names == ("a",)


def test_copy_of_the_target__is_found_in_sorted_rows(read):
    content = "a,b,y\n" + "".join(f"{i * 37 % 101},{'uv'[i // 1500]},{i // 1500}\n" for i in range(3000))
    assert read(content).feature_names == ("a",)


@pytest.mark.parametrize(
    ("row", "doubt"),
    [
        (lambda i: (f"{'abc'[i % 3]}{i % 2}", NOISE[i][0], "abc"[i % 3]), "determines the target 'y'"),
        (lambda i: (int(i % 3 == 0), NOISE[i][0], "abc"[i % 3]), "follows from the target 'y'"),
        (lambda i: (round(math.log(NOISE[i][0] + 9), 9), i % 5, NOISE[i][0]), "the same order as the target 'y'"),
        (lambda i: (100 + 10 * i, NOISE[i][0], i % 2), "goes up or down from row to row"),
        (lambda i: (4012345600000 + i * 7 % 41, NOISE[i][0], i % 2), "long numbers such as 4012345600000"),
        (lambda i: (20200101 + i % 28, NOISE[i][0], i % 2), "dates such as 20200101"),
    ],
)
def test_features__that_hardly_are_any_are_doubted(row, doubt, read):
    raw = read(table(row))
    assert any(f"olumn 'a' {doubt}" in text or doubt in text for text in raw.warnings)
    assert all("data.drop=a" in text for text in raw.warnings)


def test_features__of_noise_are_not_doubted(read):
    assert read(table(lambda i: (*NOISE[i], i % 7 % 2))).warnings == ()


@pytest.mark.parametrize(
    ("content", "other"),
    [
        (table(lambda i: ("abc"[i % 3], *NOISE[i]), "Class,a,b"), "Class"),
        (table(lambda i: (i % 10, i * 7 % 256, i * 11 % 256), "label,p1,p2"), "label"),
        (table(lambda i: (i % 3 + 1, NOISE[i][0], 300 + i * 7 % 31), ""), "column 0"),
        (table(lambda i: ("TIDNG"[i % 5], i % 16, i * 3 % 7), ""), "column 0"),
    ],
)
def test_default_target__is_doubted_where_another_column_looks_like_it(content, other, read):
    assert any(f"set data.target={other}" in text for text in read(content).warnings)
    assert not any("data.target" in text for text in read(content, target=other).warnings)


# --- formats that know their types -------------------------------------------------------------------


def parquet(frame, **options):
    frame.to_parquet(stream := io.BytesIO(), **options)
    return stream.getvalue()


def test_index__of_a_dataframe_may_be_the_target_but_no_feature(read):
    frame = pd.DataFrame(NOISE, columns=["a", "b"], index=pd.Index(["u", "v"] * (N // 2), name="y"))
    raw = read(parquet(frame), name="t.parquet", target="y")
    assert (raw.feature_names, set(raw.y)) == (("a", "b"), {"u", "v"})
    assert read(parquet(frame), name="t.parquet").feature_names == ("a",)
    named = pa.table({"a": [row[0] for row in NOISE], "__index_level_0__": range(N), "y": [i % 2 for i in range(N)]})
    pq.write_table(named, stream := io.BytesIO())
    assert read(stream.getvalue(), name="t.parquet").feature_names == ("a",)


def test_parquet__periods_are_no_numbers(read):
    frame = pd.DataFrame({"d": pd.period_range("2020", periods=N, freq="M"), "y": [i % 2 for i in range(N)]})
    assert "column 'd' has the type" in refusal(read, parquet(frame), name="t.parquet")


def test_folder__parts_may_order_their_columns_and_folders_are_no_target(tmp_path):
    frame = pd.DataFrame(NOISE, columns=["a", "b"]).assign(y=["u", "v"] * (N // 2))
    for year, part in ((1, frame[:20]), (2, frame[20:][["y", "b", "a"]])):
        (tmp_path / f"year={year}").mkdir()
        part.to_parquet(tmp_path / f"year={year}" / "part.parquet")
    raw = obtain(tmp_path)
    assert (raw.feature_names, set(raw.y)) == (("year", "a", "b"), {"u", "v"})
    assert raw.x[25].tolist() == [2, *NOISE[25]]


ARFF = "@relation t\n@attribute a numeric\n@attribute b numeric\n@attribute y {A,B}\n@data\n"


@pytest.mark.parametrize(
    ("row", "count"),
    [("1,2", 2), ("1,2,A,4", 4), ("1,2,A,{3}", 4), ("1\t2\tA", 1)],
)
def test_arff__rows_of_another_length_are_named(row, count, read):
    content = ARFF + "1,2,A\n% note, with, commas\n" + row + "\n"
    assert f"line 3 below @data has {count} values, expected 3" in refusal(read, content, name="t.arff")


@pytest.mark.parametrize("quote", ["'", '"'])
def test_arff__text_may_be_quoted_in_two_ways(quote, read):
    raw = read(ARFF + table(lambda i: (*NOISE[i], f"{quote}x, {i % 2}{quote}"), ""), name="t.arff")
    assert set(raw.y) == {"x, 0", "x, 1"}


def test_excel__empty_rows_around_the_cells_and_other_sheets(read):
    openpyxl = pytest.importorskip("openpyxl")
    book = openpyxl.Workbook()
    for row in [
        [],
        [],
        ["a", 402, "y"],
        *([i * 7 % 11, i / 2, "AB"[i % 2]] for i in range(N)),
        [],
        [None, None, None, " "],
    ]:
        book.active.append(row)
    book.create_sheet("notes")
    book.save(stream := io.BytesIO())
    raw = read(stream.getvalue(), name="t.xlsx")
    assert raw.feature_names == ("a", "402")
    assert raw.x.shape == (N, 2)
    assert any("Only the first sheet is read ('Sheet' of 'Sheet', 'notes')" in text for text in raw.warnings)


def test_files__without_suffix_are_no_names(tmp_path, read):
    assert "is no file that can be read" in refusal(read, PLAIN, name="mydata")


def test_bytes__that_are_no_text_are_refused_as_labels(tmp_path):
    np.savez(tmp_path / "t.npz", X=np.array(NOISE), y=np.array([b"\xe4", b"b"] * (N // 2)))
    with pytest.raises(DataError, match="y holds bytes that are no UTF-8 text"):
        load_dataset(tmp_path / "t.npz", rng=np.random.default_rng(0))
