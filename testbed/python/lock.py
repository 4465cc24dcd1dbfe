"""ZODB's lock on a data file: held by ZODB, or refused to it."""
import sys

from zc.lockfile import LockError
from ZODB.FileStorage import FileStorage

from common import hear
from common import main
from common import say


def holds(path):
    storage = FileStorage(path)
    say('held')
    hear('let go')
    storage.close()


def refused(path):
    try:
        FileStorage(path)
    except LockError:
        return
    sys.exit('ZODB opened a file that is being served')


main({'holds': holds, 'refused': refused})
