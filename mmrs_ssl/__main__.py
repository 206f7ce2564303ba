"""``python -m mmrs_ssl`` is ``mmrs-ssl``."""

import sys

from mmrs_ssl_commands.main import main

if __name__ == '__main__':
    sys.exit(main())
