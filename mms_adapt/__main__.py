"""Run the command line: ``python -m mms_adapt`` is the same as ``mms-adapt``."""

from mms_adapt.cli import main

if __name__ == "__main__":
    main()
