"""What the scripts share: connecting, a class that resolves conflicts, and talking with the test that runs us."""
import logging
import os
import sys

import persistent
import ZODB
from ZEO.ClientStorage import ClientStorage
from ZODB.utils import p64
from ZODB.utils import u64

logging.basicConfig(level=os.environ.get('STANDBY_PYTHON_LOG', 'WARNING').upper())

__all__ = ['Counter', 'client', 'database', 'main', 'p64', 'say', 'hear', 'u64']


class Counter(persistent.Persistent):
    """Counts; two who count at the same time are both right."""

    value = 0

    def _p_resolveConflict(self, old, saved, new):
        return {'value': saved['value'] + new['value'] - old.get('value', 0)}


# Records name the class by its module. A script that is run is `__main__`, so it must be found under one name.
Counter.__module__ = 'common'


def client(address, **options):
    """A client of HOST:PORT, or of the Unix socket that a path names."""
    if '/' not in address:
        host, port = address.rsplit(':', 1)
        address = host, int(port)
    options.setdefault('wait_timeout', 60)
    return ClientStorage(address, **options)


def database(address, **options):
    return ZODB.DB(client(address, **options))


def say(line):
    print(line, flush=True)


def hear(expected):
    line = sys.stdin.readline().rstrip('\n')
    assert line == expected, (line, expected)


def main(scenarios):
    """Run the scenario that the first argument names, with the others."""
    name, *arguments = sys.argv[1:]
    scenarios[name](*arguments)
    say('done: %s' % name)
