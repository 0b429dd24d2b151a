"""Tables in Markdown, which read well as they are.

Authors
 * The speechbrain_cwrnn developers 2026
"""


def format_table(columns, rows):
    """Rows of text as a table.

    Arguments
    ---------
    columns : list of str
        Their names.
    rows : list of list of str
        The cells.

    Returns
    -------
    str
        The table, with no line break at its end.

    Example
    -------
    >>> print(format_table(["run", "error"], [["a", "7"], ["longer", "12"]]))
    | run    | error |
    | ------ | ----- |
    | a      |     7 |
    | longer |    12 |
    """
    widths = [max(map(len, column)) for column in zip(columns, *rows)]
    lines = []
    for line in [columns, ["-" * width for width in widths], *rows]:
        cells = [line[0].ljust(widths[0])]
        cells += [cell.rjust(w) for cell, w in zip(line[1:], widths[1:])]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)
