"""Tables in Markdown."""

from speechbrain_cwrnn.tables import format_table


def test_table():
    """The first column on the left, the others on the right, none too wide."""
    table = format_table(["a", "longer"], [["first", "1"], ["2nd", "1234567"]])
    assert table.splitlines() == [
        "| a     |  longer |",
        "| ----- | ------- |",
        "| first |       1 |",
        "| 2nd   | 1234567 |",
    ]
