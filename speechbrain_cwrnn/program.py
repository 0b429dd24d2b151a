"""What a recipe's train.py does when it is run as a program.

Authors
 * The speechbrain_cwrnn developers 2026
"""

import sys

import speechbrain as sb

from speechbrain_cwrnn.errors import InputError


def run_program(main):
    """Run a recipe with the arguments of the command line.

    What is wrong with these, or with the data, ends it with one sentence; a
    fault of the recipe's own still shows its traceback.

    Arguments
    ---------
    main : callable
        Gets the YAML file, the run options, and what overrides the YAML file,
        as `speechbrain.parse_arguments` returns them.
    """
    try:
        main(*sb.parse_arguments(sys.argv[1:]))
    except InputError as error:
        sys.exit(f"Error: {error}")
