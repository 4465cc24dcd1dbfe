"""Reads files that a crash has left with ZODB's own FileStorage, and says whether what was promised is there.

Talks with the test line by line: `check PATH LEDGER` is answered by `right` or ends with an error.
"""
import shutil
import sys

from ZODB.FileStorage import FileStorage

from common import say

OBJECTS = 10


def promised(ledger):
    with open(ledger) as f:
        return [line.split() for line in f]


def check(path, ledger):
    """Works on a copy: FileStorage repairs what it opens for writing."""
    copy = path + '.judged'
    shutil.copyfile(path, copy)
    storage = FileStorage(copy)
    there = {}
    for t in storage.iterator():
        records = [(r.oid, r.data) for r in t]
        if t.user == b'driver':
            assert len(records) == OBJECTS and all(data for _, data in records), 'in part: %s' % t.tid.hex()
        there[t.tid.hex()] = t.description.decode()
    for tid, name, number in promised(ledger):
        assert tid in there, 'acknowledged, and gone: %s of %s' % (tid, name)
        assert there[tid] == '%s %s' % (name, number), (tid, there[tid], name, number)
    storage.close()
    return len(there)


for line in sys.stdin:
    word, *arguments = line.split()
    assert word == 'check', line
    say('right: %d transactions' % check(*arguments))
