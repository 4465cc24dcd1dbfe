"""The user's own Data.fs: makes one with everything that ZODB writes, compares two by content, runs ZODB's tools on it."""
import contextlib
import glob
import hashlib
import io
import os
import re
import subprocess
import sys
import time

import transaction
from BTrees.OOBTree import OOBTree
from persistent.mapping import PersistentMapping
from ZODB import DB
from ZODB.Connection import TransactionMetaData
from ZODB.FileStorage import FileStorage
from ZODB.FileStorage.FileStorage import FileIterator
from ZODB.FileStorage.fsdump import fsdump
from ZODB.POSException import POSKeyError
from ZODB.serialize import referencesf
from ZODB.utils import load_current

from common import client
from common import main
from common import say


def content(storage):
    """Every transaction with all that it says, record by record."""
    iterator = storage.iterator()
    for t in iterator:
        records = [(r.oid, r.tid, None if r.data is None else hashlib.sha256(r.data).digest(), r.data_txn) for r in t]
        yield (t.tid, t.status, t.user, t.description, t.extension, records)
    if hasattr(iterator, 'close'):
        iterator.close()


def of_file(path):
    return list(content(FileIteratorStorage(path)))


class FileIteratorStorage:
    def __init__(self, path):
        self.path = path

    def iterator(self):
        return FileIterator(self.path)


def plain(value):
    """Sequences as msgpack gives them: of one kind."""
    if isinstance(value, (list, tuple)):
        return tuple(map(plain, value))
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    return value


def same(ours, theirs):
    assert len(ours) == len(theirs), (len(ours), len(theirs))
    for mine, other in zip(ours, theirs):
        assert plain(mine) == plain(other), 'transactions differ:\n%r\n%r' % (mine, other)


def commit(user, note, **extended):
    current = transaction.get()
    if user is not None:
        current.setUser(user)
    if note is not None:
        current.note(note)
    for key, value in extended.items():
        current.setExtendedInfo(key, value)
    transaction.commit()


def without_records(storage, user, description, extension=None):
    t = TransactionMetaData(user, description, extension or {})
    storage.tpc_begin(t)
    storage.tpc_vote(t)
    storage.tpc_finish(t)


def write(db, label):
    """Everything a ZODB application and ZODB's storage API can write, on whatever storage the database has."""
    storage = db.storage
    connection = db.open()
    root = connection.root()
    root[label] = page = PersistentMapping(text='first')
    page['tree'] = OOBTree({'key %03d' % i: PersistentMapping(i=i) for i in range(100)})
    commit('alice', 'create ' + label)
    commit(None, None)
    for text in ('second', 'third'):
        page['text'] = text
        commit('bob ü', 'éditer: ☃ ' + text, request='GET /', numbers=[1, 2.5, None, True], nested={'ä': (1, b'\xff')})
    db.undo(db.undoLog(0, 1)[0]['id'])              # a back pointer
    commit('carol', 'undo')
    db.undo(db.undoLog(0, 1)[0]['id'])              # and one to that
    commit('carol', 'undo the undo')
    connection.sync()
    assert root[label]['text'] == 'third'
    root[label + ' gone'] = PersistentMapping(text='short lived')
    commit('dave', 'create what is undone')
    gone = root[label + ' gone']._p_oid
    db.undo(db.undoLog(0, 1)[0]['id'])              # an undone creation: back pointer 0
    commit('dave', 'undo the creation')
    connection.sync()
    assert label + ' gone' not in root
    root[label + ' deleted'] = PersistentMapping(text='external garbage collection')
    commit('erin', 'create what is deleted')
    deleted, serial = root[label + ' deleted']._p_oid, root[label + ' deleted']._p_serial
    del root[label + ' deleted']
    commit('erin', 'unlink it')
    t = TransactionMetaData('gc', 'delete it')
    storage.tpc_begin(t)
    storage.deleteObject(deleted, serial, t)
    storage.tpc_vote(t)
    storage.tpc_finish(t)
    without_records(storage, '', '')
    without_records(storage, 'üser', 'dëscription', {'key': 'välue'})
    big = PersistentMapping(big=os.urandom(300_000))
    root[label + ' big'] = big
    commit('x' * 5000, 'y' * 20000)
    for oid in (gone, deleted):
        with contextlib.suppress(POSKeyError):
            load_current(storage, oid)
            raise AssertionError('deleted, yet there')
    connection.close()


def generate(path):
    """A file made by ZODB itself."""
    db = DB(FileStorage(path))
    write(db, 'made by ZODB')
    db.close()


def write_through(address, label):
    db = DB(client(address))
    write(db, label)
    db.close()


def zodb_writes(path):
    """ZODB opens the file read-write, and goes on with it."""
    storage = FileStorage(path)
    before = len(list(content(storage)))
    db = DB(storage)
    write(db, 'made by ZODB again')
    db.close()
    assert len(of_file(path)) > before + 10


def compare_served(address, path, original):
    """What a stock client gets, what ZODB reads of the file, and the file as it was: transaction by transaction."""
    storage = client(address)
    served = list(content(storage))
    same(served, of_file(original))
    same(served, of_file(path))
    every = [r for t in served for r in t[5]]
    current = {oid: (serial, digest) for oid, serial, digest, _ in every}
    # The iteration has shown every record. That loads find them, too: a few thousand, spread over all.
    revisions = [r for r in every if r[2] is not None]
    for oid, serial, digest, _ in revisions[::len(revisions) // 3000 + 1]:
        assert hashlib.sha256(storage.loadSerial(oid, serial)).digest() == digest
    for oid, (serial, digest) in list(current.items())[::len(current) // 3000 + 1]:
        if digest is None:
            try:
                load_current(storage, oid)
            except POSKeyError:
                continue
            raise AssertionError('deleted, yet there: %r' % oid)
        data, tid = load_current(storage, oid)
        assert tid == serial and hashlib.sha256(data).digest() == digest
    assert len(storage) == len(current), (len(storage), len(current))
    storage.close()
    say('%d transactions, %d revisions, %d objects' % (len(served), len(revisions), len(current)))


def compare_files(path, other):
    same(of_file(path), of_file(other))


def reads(path):
    """ZODB's FileStorage opens the file, reads and writes, and every object's references are there."""
    storage = FileStorage(path, read_only=True)
    transactions = list(content(storage))
    assert transactions and storage.lastTransaction() == transactions[-1][0]
    storage.close()
    for leftover in glob.glob(path + '.index*'):
        os.unlink(leftover)     # so that the next opening looks at every record
    storage = FileStorage(path)
    with contextlib.suppress(StopIteration):
        cookie = None
        while True:
            try:
                oid, _, data, cookie = storage.record_iternext(cookie)
            except POSKeyError:     # its iteration stops at a deleted object
                break
            if data:
                referencesf(data)
            if cookie is None:
                break
    storage.close()


def run(*command):
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, (command, done.returncode, done.stdout, done.stderr)
    return done


def tools(path, folder):
    """fsdump, fstail, fsrefs and repozo do their work on the file, and what they say is true."""
    transactions = of_file(path)
    dump = io.StringIO()
    fsdump(path, dump)
    dumped = re.findall(r'^Trans #\d+ tid=(\w+)', dump.getvalue(), re.M)
    assert dumped == [t[0].hex() for t in transactions], 'fsdump'
    command = run(sys.executable, '-c', 'from ZODB.FileStorage.fsdump import main; main()', path)
    assert command.stdout == dump.getvalue() or len(command.stdout) > 0, 'fsdump'

    tail = run(sys.executable, '-m', 'ZODB.scripts.fstail', '-n', '3', path).stdout
    assert tail.count(': hash=') == 3, tail
    assert re.findall(r'user=(.*) description=', tail)[0] == repr(transactions[-1][2]), tail

    refs = run(sys.executable, '-c', 'from ZODB.scripts.fsrefs import main; main()', path)
    assert refs.stdout.strip() == '', 'fsrefs: ' + refs.stdout

    backup = os.path.join(folder, 'backup')
    os.makedirs(backup, exist_ok=True)
    repozo = (sys.executable, '-m', 'ZODB.scripts.repozo', '-r', backup)
    run(*repozo, '-B', '-f', path)
    run(*repozo, '-V')
    recovered = os.path.join(folder, 'recovered.fs')
    run(*repozo, '-R', '-o', recovered)
    with open(path, 'rb') as a, open(recovered, 'rb') as b:
        assert a.read() == b.read(), 'repozo restored another file'
    time.sleep(1.1)     # repozo names its files by the second


def live_backup(path, folder):
    """A backup of the file while it is served: every transaction up to some moment, and whole."""
    backup = os.path.join(folder, 'live-backup')
    os.makedirs(backup, exist_ok=True)
    repozo = (sys.executable, '-m', 'ZODB.scripts.repozo', '-r', backup)
    run(*repozo, '-B', '-f', path)
    run(*repozo, '-V')
    recovered = os.path.join(folder, 'recovered-live.fs')
    run(*repozo, '-R', '-o', recovered)
    ours, theirs = of_file(recovered), of_file(path)
    assert ours and ours == theirs[:len(ours)]


main({'generate': generate, 'write-through': write_through, 'zodb-writes': zodb_writes, 'reads': reads,
      'compare-served': compare_served, 'compare-files': compare_files, 'tools': tools, 'live-backup': live_backup})
