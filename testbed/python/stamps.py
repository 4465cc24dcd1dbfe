"""Stock clients that stamp what they write and write down what they do and see, while primaries change.

Each keeps a history as `standby-checker` reads it, one line of JSON for an operation with its answer. The value of an object is its
stamp: the client's name, and the number of the transaction, which is never used twice. `log PATH` writes the transactions of a file to PATH.log, as the checker reads them.
"""
import io
import json
import os
import pickle
import queue
import re
import sys
import threading
import time

from common import main
from common import say
from failover import database
from failover import retried
from persistent.mapping import PersistentMapping
from ZODB.FileStorage import FileIterator
from ZODB.POSException import ConflictError
from ZODB.utils import z64

CELLS = 8
BOUNDARY = re.compile(r'standby: epoch \d+ begins at node .* after transaction ([0-9a-f]{16})')


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


class Historian:
    """A client, and its history in a file."""

    def __init__(self, mode, folder, texts, **options):
        self.db = database(mode, folder, texts, **options)
        self.file = open(os.path.join(folder, 'history'), 'w', buffering=1)
        self.connected = 0
        storage = self.db.storage
        notify_connected = storage.notify_connected

        def notify(*arguments):
            self.connected += 1
            notify_connected(*arguments)
        storage.notify_connected = notify

    def note(self, **operation):
        print(json.dumps({'at': time.monotonic_ns() // 1000, **operation}), file=self.file)

    def transact(self, description, work):
        """Does the work, which returns what it has written: objects and their stamps. The tid, if there is one."""
        connected = self.connected
        commits = False
        try:
            with self.db.transaction(description) as connection:
                seen = []
                start = connection._storage._start.hex()
                written = work(connection, seen)
                # A stock client goes on in the middle of a transaction when it has found another server, and reads the
                # rest there: what it has read then need not be as of one moment.
                if self.connected == connected:
                    self.note(begin={'start': start})
                    for one, stamp in seen:
                        self.note(read={'oid': one._p_oid.hex(), 'serial': one._p_serial.hex(), 'value': stamp})
                writes = [{'oid': one._p_oid.hex(), 'base': None if base == z64 else base.hex(), 'value': stamp}
                          for one, base, stamp in written]
                if writes:
                    self.note(commit={'writes': writes})
                    commits = True
        except BaseException as error:
            if commits:
                # What else it may be, nobody can tell: the answer may have been lost.
                self.note(outcome='refused' if isinstance(error, ConflictError) else 'unknown')
            raise
        if commits:
            serial = written[0][0]._p_serial.hex()
            self.note(outcome={'committed': serial})
            return serial

    def heads(self, connection):
        """Where the writers' objects are, by name."""
        return connection.root()

    def see_all(self, connection, seen):
        """Every object of every writer."""
        for head in self.heads(connection).values():
            for one in [head, *head['cells']]:
                see(one, seen)

    def look(self, moment, tid):
        """Writes down everything that is seen at one moment behind this transaction."""
        def view(connection, seen):
            start = connection._storage._start.hex()
            if start <= tid:
                raise ConflictError('not there yet')
            self.see_all(connection, seen)
            return []
        before = self.connected
        retried('looking', lambda: self.transact('look', view))
        # All that was seen is in the history, else it proves nothing.
        if before != self.connected:
            retried('looking again', lambda: self.transact('look', view))
        say('looked %s' % moment)

    def close(self):
        self.file.close()
        self.db.close()


def see(one, seen):
    seen.append((one, one['stamp']))  # loads it


def writer(mode, name, folder, *texts):
    """Stamps, one transaction a number. No number is used twice."""
    write(Historian(mode, folder, texts), name)


def write(client, name, beside=None):
    """What a writer does. `beside` does more in each transaction, with objects without stamps."""
    commands = told()
    number = 0

    def begin(connection, seen):
        nonlocal number
        number += 1
        stamp = '%s %d' % (name, number)
        cells = [PersistentMapping(stamp=stamp) for _ in range(CELLS)]
        head = PersistentMapping(stamp=stamp, cells=cells)
        for one in [head, *cells]:
            connection.add(one)
        client.heads(connection)[name] = head
        return [(one, z64, stamp) for one in [head, *cells]]
    retried('beginning', lambda: client.transact('begin', begin))
    say('begun')
    while True:
        command, *arguments = take(commands)
        if command == 'stop':
            break
        if command == 'look':
            client.look(*arguments)
            continue

        def stamp(connection, seen):
            nonlocal number
            number += 1
            mine = client.heads(connection)[name]
            written = []
            for one in [mine, mine['cells'][number % CELLS]]:
                see(one, seen)
                written.append((one, one._p_serial, '%s %d' % (name, number)))
                one['stamp'] = written[-1][2]
            if beside:
                beside(connection, number)
            return written
        serial = retried('stamping', lambda: client.transact('stamp', stamp))
        if command == 'write':
            # This one began after it was asked for.
            say('wrote %s %s' % (arguments[0], serial))
        time.sleep(0.005)
    client.close()
    say('ended at %d' % number)


def reader(mode, name, folder, *texts):
    """Reads everything, so that its cache has it, and writes down what it has read."""
    read(Historian(mode, folder, texts))


def read(client, beside=None):
    """What a reader does. `beside` reads more in each transaction, of objects without stamps."""
    commands = told()
    say('begun')

    def read(connection, seen):
        client.see_all(connection, seen)
        if beside:
            beside(connection)
        return []
    while True:
        command, *arguments = take(commands)
        if command == 'stop':
            break
        if command == 'look':
            client.look(*arguments)
        retried('reading', lambda: client.transact('read', read))
        time.sleep(0.005)
    client.close()
    say('ended')


class Anything:
    """What stands for an instance of a class of the application, whatever is done with it."""

    def __new__(cls, *_, **__):
        return object.__new__(cls)

    def __init__(self, *_, **__):
        pass

    def take(self, *_):
        pass
    __setstate__ = __setitem__ = append = extend = add = take


class Record(pickle.Unpickler):
    """A record without the classes of the application."""

    def persistent_load(self, reference):
        return None

    def find_class(self, module, name):
        return type(name, (Anything,), {})


def stamp_of(data):
    """The stamp in a record, which need not be one of ours."""
    record = Record(io.BytesIO(data))
    if getattr(record.load(), '__name__', None) != 'PersistentMapping':
        return None
    content = record.load()['data']
    stamp = content.get('stamp') if isinstance(content, dict) else None
    return stamp if isinstance(stamp, str) else None


def log(path, start=None):
    """Writes down the transactions of a file, from this one on."""
    with open(path + '.log', 'w') as out:
        for transaction in FileIterator(path, start=bytes.fromhex(start) if start else None):
            line = {'tid': transaction.tid.hex(), 'writes': [
                {'oid': record.oid.hex(), 'value': stamp_of(record.data) if record.data else None}
                for record in transaction]}
            boundary = BOUNDARY.match(transaction.description.decode())
            if boundary:
                line['follows'] = boundary.group(1)
            print(json.dumps(line), file=out)


if __name__ == '__main__':
    main({'writer': writer, 'reader': reader, 'log': log})
