"""``python -m slide``: the same as the ``slide`` command, which begins here too."""

import sys


def main() -> int:
    """Runs the command line; Ctrl-C is no error of the program while its modules are still being imported."""
    try:
        from slide.cli.main import main as run

        return run()
    except KeyboardInterrupt:
        if sys.stderr is not None:
            print("\nslide: stopped", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
