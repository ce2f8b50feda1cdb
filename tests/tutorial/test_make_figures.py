"""All figures of the tutorial: their titles and layout, the command, and its errors."""

import hashlib
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from matplotlib.figure import Figure
from matplotlib.text import Text

from gd_torch import CURVE, bowl
from gd_torch.cli.app import run as run_command
from gd_torch.plots import style
from gd_torch.tutorial import catalogue, drawings, figure_data, trainability_data
from gd_torch.tutorial.figure_files import make_figures

ROOT = Path(__file__).parents[2]
NAMES = catalogue.NAMES


def run(arguments, *, cwd=ROOT, **environment):
    """Run Python with this repository on its path and nothing else of the caller's settings."""
    path = f"{ROOT}{os.pathsep}{ROOT / 'scripts'}"
    environment = {"PYTHONPATH": path, "PATH": os.environ["PATH"]} | environment
    command = [sys.executable, *map(str, arguments)]
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True)


def command(*arguments, **options):
    """Run scripts/make_figures.py in a process."""
    return run([ROOT / "scripts" / "make_figures.py", *arguments], **options)


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """Small nets run no faster on several threads."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def figures():
    """Every figure, with fewer seeds, points and steps."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(figure_data, "STEPS", 60)
        patch.setattr(figure_data, "SEEDS", 6)
        patch.setattr(figure_data, "CURVE_POINTS", 64)
        patch.setattr(trainability_data, "STEPS", 60)
        patch.setattr(trainability_data, "POINTS", 12)
        patch.setattr(trainability_data, "ZOOM_POINTS", 8)
        patch.setattr(drawings, "FRAMES", (10,))
        drawn = {name: draw() for name, draw in drawings.DRAWINGS.items()}
        drawn["05_descent"] = next(drawn["05_descent"])
    for figure in drawn.values():
        style.styled(figure.draw_without_rendering)()
    return drawn


def test_the_catalogue_is_complete():
    """Seventeen figures, each with drawing, caption and text alternative; three have a page."""
    assert tuple(drawings.DRAWINGS) == NAMES and len(NAMES) == 17
    assert [e.name for e in catalogue.FIGURES if e.page] == [
        "05_descent",
        "08_surface",
        "09_paths",
    ]
    assert all(spec.caption.endswith(".") and spec.alt for spec in catalogue.FIGURES)


@pytest.mark.parametrize("name", NAMES)
def test_figure_layout(figures, name):
    """Left-aligned title; text of 8 points or more inside the figure; minus signs, no hyphens."""
    figure = figures[name]
    title = figure._suptitle
    assert title.get_ha() == "left" and title.get_text()
    shown = [t for t in figure.findobj(Text) if t.get_visible() and t.get_text().strip()]
    assert all(t.get_fontsize() >= 8 for t in shown)
    assert all(t.get_fontname() == "DejaVu Sans" for t in shown)
    assert not [t.get_text() for t in shown if re.search(r"^[^$]*-\d", t.get_text())]
    whole = figure.bbox.padded(1)
    inside = [*figure.texts, *(t for legend in figure.legends for t in legend.get_texts())]
    inside += [axes.title for axes in figure.axes] + [axes._left_title for axes in figure.axes]
    inside += [label for axes in figure.axes for label in (axes.xaxis.label, axes.yaxis.label)]
    inside += [text for axes in figure.axes for text in axes.texts]
    for text in inside:
        if text.get_text():
            box = text.get_window_extent()
            assert whole.x0 <= box.x0 and box.x1 <= whole.x1, text.get_text()
            assert whole.y0 <= box.y0 and box.y1 <= whole.y1, text.get_text()
    for axes in figure.axes:
        boxes = [text.get_window_extent() for text in axes.texts if text.get_text()]
        assert not any(a.overlaps(b) for i, a in enumerate(boxes) for b in boxes[:i])
    for legend in figure.legends:
        assert not legend.get_window_extent().overlaps(title.get_window_extent())


@pytest.mark.parametrize("name", NAMES)
def test_start_and_minimum_lie_inside_the_limits(figures, name):
    """Every marked start and minimum lies within its axes."""
    for axes in figures[name].axes:
        for line in axes.lines:
            if name[:2] in ("08", "09") or not line.get_label().startswith(("start", "minimum")):
                continue
            (x,), (y,) = line.get_xdata(), line.get_ydata()
            assert axes.get_xlim()[0] < x < axes.get_xlim()[1]
            assert axes.get_ylim()[0] < y < axes.get_ylim()[1]


@pytest.mark.parametrize(
    ("name", "finding"),
    [
        ("01_brute_force", "14 weights would take 10²⁸ evaluations"),
        ("02_tangent", "At w = 1.9 the slope is 25.66"),
        ("03_overshoot", "1.9 → −23.8 → 7.57 × 10⁶"),
        ("04_first_steps", "1.9 → 1.64 → 1.52"),
        ("05_descent", "682 of them"),
        ("06_learning_rates", "6915, 682, 74 steps"),
        ("08_surface", "−32 along w₁ and 14 along w₂"),
        ("10_paths_from_above", "both weights end at 77.44, w₁ only at 95.08, w₂ only at 159.36"),
    ],
)
def test_titles_carry_the_tutorials_numbers(figures, name, finding):
    """The numbers in the titles, from runs, are those of the tutorial."""
    assert finding in figures[name].get_suptitle().replace("\n", " ")


EVERY_FORMAT = """
import sys, torch
from pathlib import Path
from gd_torch.tutorial import drawings, figure_data, pages, trainability_data
from gd_torch import plots
torch.set_num_threads(1)
figure_data.STEPS, figure_data.SEEDS, figure_data.CURVE_POINTS = 40, 5, 64
trainability_data.STEPS, trainability_data.POINTS, trainability_data.ZOOM_POINTS = 40, 12, 8
figure_data._seconds = lambda work: len(work() or ()) / 1000  # instead of measured times
drawings.FRAMES = (0, 1, 10)
drawings.FRAME_TIMES = (1500, 500, 500, 3000)
out = Path(sys.argv[1])
for name, draw in drawings.DRAWINGS.items():
    drawn = draw()
    if name == "05_descent":
        plots.save_animation(drawn, out / f"{name}.gif", drawings.FRAME_TIMES)
    else:
        for kind in ("svg", "png", "pdf"):
            plots.save(drawn, out / f"{name}.{kind}")
for name in ("08_surface", "09_paths"):
    plots.write(out / f"{name}.html", pages.PAGES[name]().encode())
"""


@pytest.mark.slow
def test_bytes_do_not_depend_on_the_hash_seed(tmp_path):
    """Two processes with different hash seeds write the same bytes in every format.

    The times in figure 16 are measured; this test replaces them by fixed numbers.
    """
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", EVERY_FORMAT, str(tmp_path / seed)],
            env={"PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'scripts'}", "PYTHONHASHSEED": seed},
        )
        for seed in ("1", "2")
    ]
    assert [process.wait() for process in processes] == [0, 0]
    one, two = (
        {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}
        for folder in (tmp_path / "1", tmp_path / "2")
    )
    assert one == two and len(one) == 16 * 3 + 1 + 2


@pytest.mark.slow
def test_figures_are_made_where_nothing_else_can_be_written(tmp_path):
    """Without a display and with a read-only home and working directory figures are made."""
    out = tmp_path / "out"
    done = command(
        "--only", "02", "09", "10", "--out", out, "--quiet", cwd="/proc", HOME="/proc/none"
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    made = sorted(path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file())
    assert made == [
        "02_tangent.svg",
        "09_paths.png",
        "10_paths_from_above.svg",
        "index.html",
        "interactive/09_paths.html",
    ]


def test_gallery_has_caption_alternative_and_command(tmp_path):
    """The gallery shows the figures in the folder with caption, alt text and command."""
    paths = make_figures(["08_surface"], tmp_path)
    assert paths[-1] == tmp_path / "index.html"
    text = paths[-1].read_text()
    assert text.count("<figure>") == 1 and '<html lang="en">' in text
    assert 'src="08_surface.png"' in text and 'href="interactive/08_surface.html"' in text
    assert "python scripts/make_figures.py --only 08_surface" in text
    assert 'alt="A bowl with the point' in text


def test_format_applies_to_static_figures(tmp_path):
    """--format pdf writes PDF files, which the gallery does not show."""
    paths = make_figures(["02_tangent"], tmp_path, "pdf")
    assert [path.name for path in paths] == ["02_tangent.pdf", "index.html"]
    assert "<figure>" not in paths[-1].read_text()


def test_without_plotly_everything_else_is_made(tmp_path, monkeypatch, capsys):
    """Without plotly the static figure is made, and one line names the missing package."""
    monkeypatch.setitem(sys.modules, "plotly", None)
    monkeypatch.setitem(sys.modules, "plotly.offline", None)
    assert ended("--only", "09_paths", "--out", str(tmp_path), "--quiet") == 0
    assert {path.name for path in tmp_path.iterdir()} == {"09_paths.png", "index.html"}
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and "plotly is missing" in said and "gd_torch[interactive]" in said


@pytest.mark.parametrize(
    "arguments",
    [["--only", "18"], ["--format", "jpg"], ["--on", "02"], ["--only"], ["extra"]],
)
def test_bad_input_is_one_line_and_exit_2(tmp_path, monkeypatch, capsys, arguments):
    """A wrong argument gives one line on stderr; nothing is written."""
    monkeypatch.chdir(tmp_path)
    assert ended(*arguments) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.count("\n") == 1 and err.startswith("make_figures.py: ")
    assert list(tmp_path.iterdir()) == []


def ended(*arguments):
    """The exit status of the command, run in this process."""
    return run_command("figures", arguments, "make_figures.py")


@pytest.mark.parametrize(("out", "status"), [("/proc", 1), ("/proc/figures", 1), ("/dev/null", 2)])
def test_folder_that_cannot_be_written_is_one_line(monkeypatch, capsys, out, status):
    """A path that is no folder, or is read-only, is reported before any computation."""
    monkeypatch.setitem(drawings.DRAWINGS, "02_tangent", None)
    assert ended("--only", "02", "--out", out) == status
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and out in said


def test_full_disk_is_one_line_and_exit_1(tmp_path, monkeypatch, capsys):
    """A full disk gives one line on stderr and leaves no incomplete file."""

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    assert ended("--only", "02", "--out", str(tmp_path), "--quiet") == 1
    assert capsys.readouterr().err.count("\n") == 1 and list(tmp_path.iterdir()) == []


def test_help_and_list_need_no_torch():
    """--help and --list answer without importing torch or matplotlib."""
    code = (
        "import sys; from gd_torch.cli import main\n"
        "assert main(['figures', *sys.argv[1:]]) == 0\n"
        "assert not {'torch', 'matplotlib', 'numpy'} & set(sys.modules)"
    )
    helped, listed = (run(["-c", code, flag]) for flag in ("--help", "--list"))
    assert helped.returncode == listed.returncode == 0, helped.stderr + listed.stderr
    assert "examples:" in helped.stdout
    assert [line.split()[0] for line in listed.stdout.splitlines()] == list(NAMES)


def test_drawings_do_not_use_pyplot(figures):
    """Every drawing is a matplotlib Figure, made without pyplot."""
    assert all(isinstance(figure, Figure) for figure in figures.values())
    done = run(
        [
            "-c",
            "import sys, gd_torch.tutorial.drawings; assert 'matplotlib.pyplot' not in sys.modules",
        ]
    )
    assert done.returncode == 0, done.stderr


def test_minimiser_is_the_tutorials():
    """The errors in the figures are measured from w = 0.754877666246693."""
    assert CURVE.minimiser[0] == pytest.approx(0.754877666246693, abs=1e-15)
    assert float(bowl(*torch.tensor(drawings.BOWL.start))) == 177
