"""What the commands' arguments may be; argparse tells whoever breaks a rule, with exit status 2."""

import argparse


def positive(text: str) -> int:
    """Give a whole number of at least 1.

    Raises:
        ArgumentTypeError: it is none.
    """
    if text.isascii() and text.isdigit() and int(text) > 0:
        return int(text)
    raise argparse.ArgumentTypeError(f"{text!r} must be a whole number, at least 1")
