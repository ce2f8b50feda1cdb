"""Saving figures: equal bytes every time, no incomplete files."""

import os

import pytest
from PIL import Image

from gd_torch import curve, descend, plots


@pytest.fixture
def figure():
    """A small figure."""
    return plots.tangent(curve, descend(curve, 1.9, learning_rate=0.1, steps=1), (-1, 2))


@pytest.mark.parametrize("kind", ["svg", "png", "pdf"])
def test_saved_twice_is_the_same(figure, tmp_path, kind):
    """Two saves write the same bytes, without a date in them."""
    first = plots.save(figure, tmp_path / f"a.{kind}").read_bytes()
    again = plots.save(figure, tmp_path / f"b.{kind}").read_bytes()
    assert first == again
    assert b"dc:date" not in first and b"CreationDate" not in first


def test_a_figure_has_the_permissions_of_any_new_file(figure, tmp_path):
    """The permissions are 0o666 without those that the umask excludes."""
    before = os.umask(0o027)
    try:
        path = plots.save(figure, tmp_path / "figure.svg")
    finally:
        os.umask(before)
    assert path.stat().st_mode & 0o777 == 0o640


@pytest.mark.parametrize("interruption", [KeyboardInterrupt, OSError])
def test_interrupted_save_keeps_the_old_file(figure, tmp_path, monkeypatch, interruption):
    """If a save is interrupted the old file is unchanged and no other file is left."""
    path = tmp_path / "figure.svg"
    path.write_text("old")

    def stop(*_):
        raise interruption

    monkeypatch.setattr(os, "replace", stop)
    with pytest.raises(interruption):
        plots.save(figure, path)
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]


def test_unknown_suffix_is_refused(figure, tmp_path):
    """The message names the accepted suffixes, and nothing is written."""
    with pytest.raises(ValueError, match=r"must end in \.svg"):
        plots.save(figure, tmp_path / "figure.jpg")
    with pytest.raises(ValueError, match=r"must end in \.gif"):
        plots.save_animation([figure], tmp_path / "figure.png", [100])
    assert list(tmp_path.iterdir()) == []


def test_animation_has_every_frame(tmp_path):
    """A GIF holds its frames with their times and repeats for ever."""
    run = descend(curve, 1.9, learning_rate=0.1, steps=3)
    frames = [plots.descent_on_curve(curve, run, (-1, 2), step=step) for step in range(3)]
    path = plots.save_animation(frames, tmp_path / "a.gif", [500, 100, 900])
    with Image.open(path) as image:
        assert image.n_frames == 3 and image.info["loop"] == 0
        times = []
        for place in range(3):
            image.seek(place)
            times.append(image.info["duration"])
    assert times == [500, 100, 900]
