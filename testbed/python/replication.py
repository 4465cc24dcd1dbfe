"""Stock clients of a primary and of its replicas."""
import filecmp
import os
import random
import sys
import threading
import time

import BTrees.OOBTree
import transaction
import ZODB
import ZODB.blob
from common import database
from common import hear
from common import main
from common import say
from persistent.mapping import PersistentMapping
from ZEO.Exceptions import ServerException
from ZODB.FileStorage import FileStorage
from ZODB.POSException import POSKeyError
from ZODB.POSException import UndoError
from ZODB.utils import oid_repr
from ZODB.utils import tid_repr

PATIENCE = 60


def site(primary, folder):
    """A site is written: trees, changes, undo, a deletion by hand, blobs."""
    db = database(primary, blob_dir=os.path.join(folder, 'client-blobs'))
    with db.transaction() as connection:
        root = connection.root()
        root['tree'] = BTrees.OOBTree.OOBTree()
        root['blobs'] = PersistentMapping()
    for round in range(20):
        with db.transaction() as connection:
            root = connection.root()
            for key in range(50):
                root['tree'][key] = PersistentMapping(round=round, key=key)
            blob = root['blobs'][round % 7] = ZODB.blob.Blob()
            with blob.open('w') as file:
                file.write(os.urandom(300_000 * (round % 3)) + b'end %d' % round)
    connection = db.open()
    last = db.undoInfo(0, 1)[0]['id']
    db.undo(last)
    transaction.commit()
    assert connection.root()['tree'][0]['round'] == 18
    connection.close()
    db.close()
    say('written')


def history(primary):
    """One object changes, and back; the last change can be taken back again."""
    db = database(primary)
    changes(db)
    say('undo ' + db.undoInfo(0, 2)[1]['id'].decode())
    db.close()


def changes(db):
    for value in 'first', 'second':
        with db.transaction() as connection:
            connection.root()['value'] = value
    db.undo(db.undoInfo(0, 1)[0]['id'])
    transaction.commit()
    with db.transaction() as connection:
        assert connection.root()['value'] == 'first'


def undo(primary):
    """The last change is taken back."""
    db = database(primary)
    db.undo(db.undoInfo(0, 1)[0]['id'])
    transaction.commit()
    with db.transaction() as connection:
        assert connection.root()['value'] == 'second'
    db.close()


def undone(db, id):
    """How the undo of a transaction fails."""
    try:
        db.undo(id)
        transaction.commit()
    except UndoError as error:
        transaction.abort()
        return 'ZODB.POSException.UndoError', error._reason
    except ServerException as error:  # as stock ZEO passes exceptions on in msgpack
        transaction.abort()
        name, state = error.args
        return name, state['_reason']
    raise AssertionError('it was undone')


def refuse(primary, folder, id):
    """What is older than a fast recovery cannot be undone, as what a FileStorage has packed cannot."""
    stock = ZODB.DB(FileStorage(os.path.join(folder, 'packed.fs'), create=True))
    changes(stock)
    packed = stock.undoInfo(0, 2)[1]['id']
    stock.pack()
    expected = undone(stock, packed)
    stock.close()
    db = database(primary)
    assert undone(db, id.encode()) == expected, (undone(db, id.encode()), expected)
    with db.transaction() as connection:
        assert connection.root()['value'] == 'second'
        connection.root()['other'] = 'after that'
    db.close()
    say(f'refused: {expected}')


def writer(primary):
    """Two objects get the same stamp, again and again, until we are told to stop."""
    db = database(primary)
    with db.transaction() as connection:
        connection.root()['one'] = PersistentMapping(stamp=0)
        connection.root()['two'] = PersistentMapping(stamp=0)
    say('begun')
    stop = threading.Event()
    threading.Thread(target=lambda: (hear('stop'), stop.set()), daemon=True).start()
    stamp = 0
    while not stop.is_set():
        stamp += 1
        with db.transaction() as connection:
            connection.root()['one']['stamp'] = stamp
            connection.root()['two']['stamp'] = stamp
    db.close()
    say(f'stamp {stamp}')


def reader(replica):
    """Both objects have the same stamp at all times, and it only grows, up to the one that we are told."""
    db = database(replica, read_only=True)
    connection = db.open()
    assert connection.isReadOnly()
    last, seen = -1, 0
    say('reading')
    final = []
    def listen():
        final.append(int(sys.stdin.readline().split()[1]))
    threading.Thread(target=listen, daemon=True).start()
    deadline = time.time() + PATIENCE
    while True:
        connection.sync()
        root = connection.root()
        if 'two' in root:
            one, two = root['one']['stamp'], root['two']['stamp']
            assert one == two, (one, two)
            assert one >= last, (one, last)
            seen += one != last
            last = one
            if final and last == final[0]:
                break
        if final:
            assert time.time() < deadline, (last, final)
        else:
            deadline = time.time() + PATIENCE
    connection.close()
    db.close()
    say(f'seen {seen}')


def content(number):
    """What the blob of a number holds: text, or what cannot be compressed, of very different lengths."""
    if number % 3:
        return b'%d and so on. ' % number * (number * 7919 % 40_000)
    return random.Random(number).randbytes(number * 7919 % 700_000)


def library(primary, folder, most):
    """Texts and blobs are written, each again until that succeeds, until there are so many or we are told to stop;
    then everything that was acknowledged is read again."""
    db = database(primary, blob_dir=os.path.join(folder, 'client-blobs'))
    stop = threading.Event()
    threading.Thread(target=lambda: sys.stdin.readline() and stop.set(), daemon=True).start()
    with db.transaction() as connection:
        connection.root()['library'] = BTrees.OOBTree.OOBTree()
    say('begun')
    number, deadline = 0, time.time() + PATIENCE
    while number < int(most) and not stop.is_set():
        assert time.time() < deadline, number
        try:
            with db.transaction() as connection:
                blob = ZODB.blob.Blob(content(number))
                book = PersistentMapping(text='a long story, told again. ' * 100, blob=blob)
                connection.root()['library'][number] = book
            number, deadline = number + 1, time.time() + PATIENCE
        except Exception as error:
            # The server is away. Whether it has the transaction is open: then the next attempt is the same again.
            print(f'book {number}: {error!r}', file=sys.stderr)
            time.sleep(0.05)
    db.close()
    db = database(primary, blob_dir=os.path.join(folder, 'fresh-client-blobs'))
    with db.transaction() as connection:
        books = connection.root()['library']
        for known in range(number):
            with books[known]['blob'].open() as file:
                assert file.read() == content(known), known
    db.close()
    say(f'{number} books')


def records(path):
    with FileStorageOpened(path) as storage:
        for txn in storage.iterator():
            head = (txn.tid, txn.status, txn.user, txn.description, txn.extension_bytes)
            yield head, [(record.oid, record.tid, record.data, record.data_txn) for record in txn]


class FileStorageOpened:

    def __init__(self, path):
        self.storage = FileStorage(path, read_only=True)

    def __enter__(self):
        return self.storage

    def __exit__(self, *_):
        self.storage.close()


def compare(first, *others):
    """FileStorages are equal, record by record, and their blobs byte by byte."""
    import itertools
    for other in others:
        pairs = itertools.zip_longest(records(first), records(other))
        count = 0
        for one, two in pairs:
            assert one == two, (other, one and tid_repr(one[0][0]), two and tid_repr(two[0][0]))
            count += 1
        one, two = blobs(first), blobs(other)
        assert one.keys() == two.keys(), (other, one.keys() ^ two.keys())
        for name in one:
            assert filecmp.cmp(one[name], two[name], shallow=False), (other, name)
        say(f'{count} transactions and {len(one)} blobs are equal')


def blobs(path):
    root = os.path.join(os.path.dirname(path), 'blobs')
    found = {}
    for folder, _, names in os.walk(root):
        for name in names:
            if name.endswith('.blob'):
                full = os.path.join(folder, name)
                found[os.path.relpath(full, root)] = full
    return found


def blob_bytes(path):
    say(f'{sum(os.path.getsize(name) for name in blobs(path).values())} bytes')


def loaded(storage, oid):
    """The current revision; nothing of an object whose creation was undone."""
    try:
        return storage.load(oid)
    except POSKeyError:
        return None


def current(first, *others):
    """The current revisions of all objects are equal."""
    with FileStorageOpened(first) as one:
        for other in others:
            with FileStorageOpened(other) as two:
                for oid in one._index:
                    assert loaded(two, oid) == loaded(one, oid), oid_repr(oid)
                assert set(two._index) <= set(one._index)
    say('equal')


def lost(before, fork, saved):
    """What was saved is all that the file had after the fork, record by record, and nothing else."""
    after = [one for one in records(before) if one[0][0] > bytes.fromhex(fork)]
    tids = {head[0] for head, _ in after}
    # A record may have pointed to one from before the fork: the saved file has the data themselves then.
    expected = [
        (head, [(oid, tid, data, txn if txn in tids else None) for oid, tid, data, txn in parts])
        for head, parts in after
    ]
    assert list(records(saved)) == expected
    say(f'{len(expected)} transactions are saved')


def pack(primary):
    db = database(primary)
    db.pack()
    db.close()


main({
    'site': site, 'lost': lost, 'pack': pack, 'writer': writer, 'reader': reader, 'compare': compare,
    'history': history, 'undo': undo, 'refuse': refuse, 'current': current,
    'blob_bytes': blob_bytes, 'library': library,
})
