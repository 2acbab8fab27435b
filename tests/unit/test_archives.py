"""Archives from elsewhere: sizes are checked before memory is allocated, and every damage is a clear error."""

import io
import os
import zipfile

import numpy as np
import pytest

import tsnn
from tsnn.archives import npz_bytes, read_archive, read_npz
from tsnn.config import Config
from tsnn.errors import DataError, RunError


def with_header(shape, data=b"", method=zipfile.ZIP_STORED):
    """Return an .npz whose member claims a shape of float64."""
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "<f8", "fortran_order": False, "shape": shape})
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        archive.writestr("weights_0.npy", header.getvalue() + data)
    return buffer.getvalue()


HOSTILE = {
    "claims terabytes": with_header((10**12,), b"x" * 80),
    "claims less than it has": with_header((2,), b"x" * 80),
    "bomb": with_header((10**6,), bytes(8 * 10**6), zipfile.ZIP_DEFLATED),
    "negative": with_header((-1,), b"x" * 8),
    "object": npz_bytes({"a": np.zeros(3)}).replace(b"'<f8'", b"'|O' "),
    "truncated": npz_bytes({"a": np.zeros(30)})[:-40],
    "flipped": npz_bytes({"a": np.arange(30.0)}).replace(b"\xf0?", b"\xf1?", 1),
    "no archive": b"PK not really",
    "empty": b"",
}


@pytest.mark.parametrize("content", HOSTILE)
def test_read_npz__refuses_hostile_files_before_it_allocates(tmp_path, content, monkeypatch):
    path = tmp_path / "weights.npz"
    path.write_bytes(HOSTILE[content])
    if content in ("claims terabytes", "bomb"):
        monkeypatch.setattr(np.lib.format, "read_array", lambda *_, **__: pytest.fail("it is read"))
    with pytest.raises(ValueError):
        read_npz(path)
    with pytest.raises(RunError, match="is not a readable tsnn network"):
        tsnn.load_network(path)


def test_read_npz__does_not_wait_for_a_pipe(tmp_path):
    os.mkfifo(tmp_path / "pipe.npz")
    with pytest.raises(OSError, match="Not a regular file"):
        read_npz(tmp_path / "pipe.npz")


@pytest.mark.parametrize("header", ["[" * 5000, "[]", "{", '{"format": 2, "arrays": ["missing"]}'])
def test_read_archive__refuses_hostile_headers(tmp_path, header):
    (tmp_path / "a.npz").write_bytes(npz_bytes({"header": header}))
    with pytest.raises(ValueError):
        read_archive(tmp_path / "a.npz")


def test_load_network__reads_what_was_saved(tmp_path, rng):
    network = tsnn.init_network(12, 3, Config().replace(hidden=[5]), rng=rng)
    tsnn.save_network(network, tmp_path / "weights.npz")
    again = tsnn.load_network(tmp_path / "weights.npz")
    assert (again.layers[0].weights == network.layers[0].weights).all()


def test_data_archive__with_a_claim_beyond_the_memory_is_refused(tmp_path, rng):
    path = tmp_path / "data.npz"
    with zipfile.ZipFile(path, "w") as archive, zipfile.ZipFile(io.BytesIO(with_header((10**15,)))) as claim:
        archive.writestr("X.npy", claim.read("weights_0.npy"))
        archive.writestr("y.npy", claim.read("weights_0.npy"))
    with pytest.raises(DataError, match="does not fit into memory"):
        tsnn.load_dataset(path, rng=rng)
