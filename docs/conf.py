"""The site that ``make docs`` builds: the repository's own pages, docs/*.md, and the docstrings, a page for each room.

Its source is the whole repository, so a page is written once and its links lead to the same place here and there.
"""

import pkgutil
import sys
from importlib import import_module
from pathlib import Path
from pydoc import locate
from typing import Any

from docutils import nodes
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx
from sphinx.domains.python import PythonDomain
from sphinx.util.docutils import SphinxDirective
from sphinx.util.nodes import make_refnode

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
from mmrs_ssl.version import __version__  # noqa: E402  (after the path)

project = 'mmrs_ssl'
copyright = 'the authors of mmrs_ssl; Apache License 2.0'
release = version = __version__

extensions = ['myst_parser', 'sphinx.ext.autodoc', 'sphinx.ext.napoleon']
root_doc = 'docs/index'
include_patterns = ['*.md', 'configs/*/README.md', 'tools/reproduce.md', 'docs/**']
# the last is a part of GitHub's form, not a page
exclude_patterns = ['.*', '**/.*', 'docs/_build', 'docs/start', 'work_dirs', 'build', 'dist', 'tests', 'mmrs_ssl']

myst_heading_anchors = 4  # headings are addressed as GitHub does
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True  # attributes that a docstring lists are fields of it, not entries beside those of the code
autodoc_member_order = 'bysource'
autodoc_default_options = dict(members=True)
autodoc_typehints = 'signature'
# What other libraries document is not looked up: that would need the network.
nitpick_ignore_regex = [('py:.*', r'(?!mmrs_ssl).*')]
suppress_warnings = ['ref.python']  # a plain word of a type that several classes have as an attribute

html_theme = 'furo'
html_title = f'mmrs_ssl {release}'
html_extra_path = ['start']  # an index.html that leads to docs/index.html


class Room(SphinxDirective):
    """Document a package: what it is for, then every module in it."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """Write a heading and ``automodule`` for each module, and read them."""
        package = import_module(self.arguments[0])
        lines = [package.__doc__ or '', '']
        prefix = f'{package.__name__}.'
        whole = package.__name__ == 'mmrs_ssl'  # whose packages have pages of their own
        modules = (pkgutil.iter_modules if whole else pkgutil.walk_packages)(package.__path__, prefix)
        for found in modules:
            if (whole and found.ispkg) or found.name == 'mmrs_ssl.__main__':
                continue
            title = f'``{found.name.removeprefix("mmrs_ssl.")}``'
            # a package's names are those of its modules
            members = ['   :no-members:'] if found.ispkg else []
            lines += [title, '-' * len(title), '', f'.. automodule:: {found.name}', *members, '']
        return self.parse_text_to_nodes('\n'.join(lines), allow_section_headings=True)


def find_by_name(app: Sphinx, env: Any, node: pending_xref, text: nodes.Element) -> nodes.Element | None:
    """Find what a docstring names as configs do, ``mmrs_ssl.CMID``: public names mean one thing in this project."""
    if node.get('refdomain') != 'py':
        return None
    domain: PythonDomain = env.get_domain('py')
    target = node['reftarget']
    parent, _, last = target.rpartition('.')
    places = [(name, each) for name, each in domain.objects.items() if name.rsplit('.', 1)[-1] == last]
    if parent in domain.objects and locate(target) is not None:  # without a docstring of its own
        places = [(parent, domain.objects[parent])]
    if len(places) != 1:
        return None
    name, place = places[0]
    return make_refnode(app.builder, node['refdoc'], place.docname, place.node_id, text, name)


def skip_fields(app: Sphinx, kind: str, name: str, member: object, skip: bool, options: Any) -> bool | None:
    """Leave out the fields of named tuples: the class lists them, and Python says no more than their number."""
    return True if type(member).__name__ == '_tuplegetter' else None


def setup(app: Sphinx) -> None:
    """Add the directive, and the search for names."""
    app.add_directive('room', Room)
    app.connect('autodoc-skip-member', skip_fields)
    app.connect('missing-reference', find_by_name)
