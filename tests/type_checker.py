"""Checks every call inside the package against its annotations.

What a user gives is not checked: the package itself says in a ValueError what is wrong with it.
"""

from beartype import BeartypeConf, beartype

STRICT = BeartypeConf(is_pep484_tower=True)


def check(function):
    return beartype(conf=STRICT)(function)
