"""Messages of errors: long values in them are abbreviated."""

import pickle

import pytest

import tsnn
from tsnn.config import Config
from tsnn.errors import MAX_MESSAGE, ConfigError, DataError, MissingPackageError, abbreviated
from tsnn.files import os_error_message
from tsnn.records import Event, EventKind
from tsnn.runs.writer import RunWriter


def test_error__abbreviates_a_long_value_and_keeps_the_remedy():
    message = str(DataError(f"column {'x' * 10_000} holds no numbers. Leave it out."))
    assert len(message) < 200
    assert message.startswith("column xxx")
    assert message.endswith("xxx holds no numbers. Leave it out.")


def test_error__abbreviates_a_long_list():
    message = str(ConfigError(f"Classes: {', '.join(map(str, range(10_000)))}. Give fewer."))
    assert len(message) <= MAX_MESSAGE
    assert message.endswith("Give fewer.")


@pytest.mark.parametrize("text", ["", "No file /a/b.csv. Check the path.", "line\nline", "/" + 16 * "a-long-folder/"])
def test_error__leaves_a_message_of_usual_length_alone(text):
    assert abbreviated(text) == text
    assert str(pickle.loads(pickle.dumps(MissingPackageError(text)))) == text


def test_error__of_a_table_with_long_names_is_short(tmp_path, rng):
    path = tmp_path / "table.csv"
    path.write_text(f"{'x' * 10_000},y\n" + "".join(f"cell {i % 30},{i % 2}\n" for i in range(90)))
    with pytest.raises(DataError, match="Leave the column out") as error:
        tsnn.load_dataset(path, rng=rng)
    assert len(str(error.value)) <= MAX_MESSAGE


def test_os_error_message__abbreviates_a_long_path():
    assert len(os_error_message(OSError(36, "File name too long", "a" * 5000))) < 200


def test_event__abbreviates_a_long_value(store):
    run = store.create(Config())
    with RunWriter(run) as writer:
        writer.event(Event(0, EventKind.DATA_WARNING, f"column {'x' * 10_000} is constant"))
    (line,) = run.lines()[0]
    assert len(line["message"]) < 200
