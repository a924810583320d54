"""Where pickles of before look for Names, which is in slide/labels/names.py."""

from slide.labels.names import Names as Names
