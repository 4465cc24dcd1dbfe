"""Stock clients that stamp what they write and say what they read, while primaries change; and who judges them.

Every transaction of a writer has a number, which it stamps its objects with, and its name and the number as its description. So
whoever has the file can tell of everything that a client was told or has read whether it is there.
"""
import bisect
import glob
import json
import os
import queue
import sys
import threading
import time

from common import main
from common import say
from failover import database
from failover import retried
from persistent.mapping import PersistentMapping
from ZODB.FileStorage import FileIterator
from ZODB.POSException import StorageError
from ZODB.utils import z64

CELLS = 8


def told():
    """What the test tells us, as it comes."""
    commands = queue.Queue()

    def listen():
        for line in sys.stdin:
            commands.put(line.split())
        commands.put(['stop'])
    threading.Thread(target=listen, daemon=True).start()
    return commands


def take(commands):
    try:
        return commands.get_nowait()
    except queue.Empty:
        return [None]


def values(connection):
    """Every object of every writer: its oid, its serial, whose it is, and its stamp."""
    for name, head in connection.root().items():
        for one in [head, *head['cells']]:
            stamp = one['stamp']  # loads it
            yield one._p_oid.hex(), one._p_serial.hex(), name, stamp


def look(db, folder, moment, tid):
    """Writes down everything that is seen at one moment behind this transaction."""
    def view():
        with db.transaction() as connection:
            start = connection._storage._start.hex()
            if start <= tid:
                raise StorageError('not there yet')
            return {'moment': moment, 'start': start, 'seen': list(values(connection))}
    seen = retried('looking', view)
    with open(os.path.join(folder, 'looks'), 'a') as looks:
        print(json.dumps(seen), file=looks)
    say('looked %s' % moment)


def writer(mode, name, folder, nothing_is_lost, *texts):
    """Stamps, one transaction a number. No number is used twice."""
    db = database(mode, folder, texts)
    commands = told()
    number, acknowledged, unknown = 0, 0, []

    def begin():
        with db.transaction('%s %d' % (name, number)) as connection:
            cells = [PersistentMapping(stamp=number) for _ in range(CELLS)]
            connection.root()[name] = PersistentMapping(stamp=number, cells=cells)
    retried('beginning', begin)
    say('begun')
    log = open(os.path.join(folder, 'acknowledged'), 'w', buffering=1)
    while True:
        command, *arguments = take(commands)
        if command == 'stop':
            break
        if command == 'look':
            look(db, folder, *arguments)
            continue

        def stamp():
            nonlocal number
            number += 1
            with db.transaction('%s %d' % (name, number)) as connection:
                mine = connection.root()[name]
                if nothing_is_lost == 'yes':
                    # One whose answer never came may have been committed.
                    assert mine['stamp'] in [acknowledged, *unknown], (
                        '%s: acknowledged %d, found %d' % (name, acknowledged, mine['stamp']))
                unknown.append(number)
                mine['stamp'] = number
                mine['cells'][number % CELLS]['stamp'] = number
            return mine._p_serial.hex()
        serial = retried('stamping', stamp)
        acknowledged = number
        unknown.clear()
        print(number, serial, file=log)
        if command == 'write':
            # This one began after it was asked for.
            say('wrote %s %s' % (arguments[0], serial))
        time.sleep(0.005)
    log.close()
    db.close()
    say('ended at %d' % acknowledged)


def reader(mode, name, folder, *texts):
    """Reads everything, so that its cache has it, and says what it has read when it is asked to."""
    db = database(mode, folder, texts)
    commands = told()
    say('begun')

    def read():
        with db.transaction() as connection:
            return len(list(values(connection)))
    while True:
        command, *arguments = take(commands)
        if command == 'stop':
            break
        if command == 'look':
            look(db, folder, *arguments)
        retried('reading', read)
        time.sleep(0.005)
    db.close()
    say('ended')


def transactions(path):
    """The transactions of a file: tid, description, oids. Their tids grow."""
    last = z64
    for one in FileIterator(path):
        assert one.tid > last, (path, one.tid, last)
        last = one.tid
        yield one.tid.hex(), one.description.decode(), [record.oid.hex() for record in one]


def judge(nothing_is_lost, data, clients, *saved):
    """Holds what the clients were told and have read against the file that survived and those that were saved, COUNT:PATH."""
    there, revisions = {}, {}
    for tid, description, oids in transactions(data):
        there[tid] = description
        for oid in oids:
            revisions.setdefault(oid, []).append(tid)
    lost = {}
    for count, path in (text.split(':', 1) for text in saved):
        found = list(transactions(path))
        assert len(found) == int(count), '%s has %d transactions, and not %s' % (path, len(found), count)
        for tid, description, _ in found:
            assert tid not in there, 'transaction %s was issued twice' % tid
            assert lost.setdefault(tid, description) == description, 'transaction %s was lost twice' % tid
    acknowledged, missing, seen = 0, 0, 0
    for path in glob.glob(os.path.join(clients, '*', 'acknowledged')):
        name = os.path.basename(os.path.dirname(path))
        last = ''
        with open(path) as lines:
            for number, tid in (line.split() for line in lines):
                assert tid > last, '%s: %s came after %s' % (name, tid, last)
                last = tid
                acknowledged += 1
                description = '%s %s' % (name, number)
                if there.get(tid) != description:
                    assert nothing_is_lost == 'no', 'acknowledged, and gone: %s %s' % (tid, description)
                    assert lost.get(tid) == description, 'gone, and not saved: %s %s' % (tid, description)
                    missing += 1
    for path in glob.glob(os.path.join(clients, '*', 'looks')):
        with open(path) as lines:
            for view in map(json.loads, lines):
                for oid, serial, name, stamp in view['seen']:
                    what = '%s at %s: %s of %s: %s, stamp %d' % (
                        path, view['moment'], oid, view['start'], serial, stamp)
                    assert there.get(serial) == '%s %d' % (name, stamp), what + ': that is not there'
                    history = revisions[oid]
                    current = history[bisect.bisect_left(history, view['start']) - 1]
                    assert serial == current, what + ': that was not current, but ' + current
                    seen += 1
    say('judged: %d transactions, %d acknowledged, %d of them lost, %d saved, %d values seen' % (
        len(there), acknowledged, missing, len(lost), seen))


if __name__ == '__main__':
    main({'writer': writer, 'reader': reader, 'judge': judge})
