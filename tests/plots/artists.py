"""Lines, legends and notes of a figure, for tests."""


def drawn(axes, label):
    """The x and y of the one line with this label."""
    (line,) = (line for line in axes.lines if line.get_label() == label)
    return [float(x) for x in line.get_xdata()], [float(y) for y in line.get_ydata()]


def legend(owner):
    """The entries of a figure's or an axes' legend."""
    box = owner.legends[0] if hasattr(owner, "legends") and owner.legends else owner.get_legend()
    return [text.get_text() for text in box.get_texts()]


def texts(axes):
    """Every note written into the axes."""
    return [text.get_text() for text in axes.texts]
