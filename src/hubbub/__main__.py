"""The program `hubbub`, and `python -m hubbub`.

Loading the command line takes a third of a second.  A Ctrl-C meanwhile ends the process as it ends one that is not
written in Python: there is nothing to tidy up yet, and a traceback would tell nothing.
"""

import signal

__all__ = ["main"]


def main() -> None:
    """Run the command line."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # not where it is ignored, as behind `nohup`
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from hubbub.cli import main as run

    run()


if __name__ == "__main__":
    main()
