"""``python -m slide``: the same as the ``slide`` command."""

import sys

from slide.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
