"""Check names that come from lists and metadata before they become paths."""


def check_name(name: str, where: object, folders: bool = True) -> str:
    """Return a name that stays in the folder it is put into.

    Args:
        name: a path relative to that folder.
        where: what to call the place that the name was read from, e.g. the list's path.
        folders: whether the name may hold sub-folders.

    Raises:
        ValueError: if the name is empty or absolute, leads out of the folder, or is none that a list can hold.
    """
    fault = ''
    if not name.strip():
        fault = 'is empty'
    elif '\\' in name or not name.isprintable():  # a NUL, a line's end: other programs read on behind it
        fault = 'holds a back-slash or a control character'
    elif name.startswith('/') or '://' in name:
        fault = 'is absolute'
    elif '..' in name.split('/'):
        fault = 'leads out of its folder'
    elif not set(name.split('/')) - {'', '.'}:
        fault = 'is no name'
    elif not folders and '/' in name:
        fault = 'holds a folder'
    if fault:
        expected = "a path below the list's folder" if folders else 'a plain name'
        raise ValueError(f'{where}: the name {name!r} {fault}; expected {expected}, without "..": mend or remove it')
    return name
