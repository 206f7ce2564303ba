"""Read what follows ``--cfg-options``."""

import ast
import re
from argparse import ArgumentParser, Namespace
from typing import Any

from mmengine.config import DictAction

# what OpenMMLab's own action cannot read: a dict written as Python has it
_PYTHON = re.compile(r"""\bdict\(|^[\s\[(]*\{\s*['"]""")


class OptionAction(DictAction):
    """OpenMMLab's ``DictAction`` that also takes dicts (``custom_hooks=[dict(type='A')]``) and says what is wrong.

    Nothing of a value is run: of Python there are literals, ``dict(...)`` and words.
    """

    def __call__(
        self, parser: ArgumentParser, namespace: Namespace, values: Any, option_string: str | None = None
    ) -> None:
        """Add the options KEY=VALUE to those of the namespace.

        Raises:
            ValueError: naming the option that cannot be read, and how it is written.
        """
        options = dict(getattr(namespace, self.dest, None) or {})
        for option in values or ():
            key, sign, text = option.partition('=')
            if not sign or not key.strip() or re.search(r'[\s\[\](){}]', key.strip()):
                raise ValueError(
                    f'--cfg-options {option}: expected KEY=VALUE, without blanks around the sign, e.g. '
                    f'train_cfg.max_epochs=10; lists and dicts in quotes: "custom_hooks=[dict(type=\'A\')]"'
                )
            options[key.strip()] = read_value(option, text)
        setattr(namespace, self.dest, options)


def read_value(option: str, text: str) -> Any:
    """Turn the text of a value into what it means.

    Args:
        option: with its key, for messages.
        text: of the value.

    Raises:
        ValueError: if it cannot be read.
    """
    try:
        if _PYTHON.search(text):
            return _value(ast.parse(text.strip(), mode='eval').body)
        return DictAction._parse_iterable(text)
    except (SyntaxError, ValueError, AssertionError, RecursionError) as error:
        raise ValueError(
            f'--cfg-options {option}: the value cannot be read ({error}); expected a number, a word, a list [1, 2] or '
            'a dict, e.g. "[dict(type=\'mmrs_ssl.PictureHook\', interval=100)]", in quotes for the shell'
        ) from error


def _value(node: ast.expr) -> Any:
    if isinstance(node, ast.Call):
        if ast.unparse(node.func) != 'dict' or node.args or not all(keyword.arg for keyword in node.keywords):
            raise ValueError(f'{ast.unparse(node)} is neither a literal nor dict(NAME=VALUE, ...)')
        return {str(keyword.arg): _value(keyword.value) for keyword in node.keywords}
    if isinstance(node, ast.Dict):
        return {_value(key): _value(value) for key, value in zip(node.keys, node.values, strict=True) if key}
    if isinstance(node, ast.List | ast.Tuple):
        values = [_value(element) for element in node.elts]
        return tuple(values) if isinstance(node, ast.Tuple) else values
    if isinstance(node, ast.Name | ast.Attribute):
        return ast.unparse(node)  # a word without quotes
    return ast.literal_eval(node)
