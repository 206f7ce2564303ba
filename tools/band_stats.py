"""Count mean, deviation, range, quantiles and nodata share of every band of an archive, and print config lines.

``mmrs-ssl stats`` is the same; ``--help`` says what it takes.
"""

from mmrs_ssl_commands.main import run_tool

if __name__ == '__main__':
    run_tool('stats')
