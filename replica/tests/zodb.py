"""ZODB's own FileStorage, for tests: zodb.py write|append|pack|dump PATH."""

import sys
import time
import zlib

from ZODB.Connection import TransactionMetaData
from ZODB.FileStorage import FileStorage
from ZODB.POSException import POSKeyError
from ZODB.utils import p64, u64, z64

MAX = b"\x7f" + b"\xff" * 7


def commit(storage, work, user=b"", description=b"", extension=None, **begin):
    transaction = TransactionMetaData(user, description, extension or {})
    storage.tpc_begin(transaction, **begin)
    work(transaction)
    storage.tpc_vote(transaction)
    return storage.tpc_finish(transaction)


def store(storage, objects, **how):
    def work(transaction):
        for oid, data in objects:
            try:
                serial = storage.getTid(p64(oid))
            except POSKeyError:
                index = storage._index.get(p64(oid))
                serial = storage._read_data_header(index).tid if index else z64
            storage.store(p64(oid), serial, data, "", transaction)

    return commit(storage, work, **how)


def undo(storage, *tids):
    from base64 import encodebytes

    def work(transaction):
        for tid in tids:
            storage.undo(encodebytes(tid).rstrip(), transaction)

    return commit(storage, work, b"undoer", b"undo")


def delete(storage, oid):
    return commit(storage, lambda t: storage.deleteObject(p64(oid), storage.getTid(p64(oid)), t))


def write(storage):
    base = (storage._index.maxKey() and u64(storage._index.maxKey()) + 1) if len(storage) else 0
    first = store(storage, [(base + n, b"object %d" % n * (n + 1)) for n in range(20)], user=b"me",
                  description="beschrieben \xfc".encode(), extension={"key": "value", "n": 3})
    changes = [store(storage, [(base + n, b"change %d" % n)]) for n in range(5)]
    undo(storage, changes[4])
    undo(storage, changes[3], changes[2])
    delete(storage, base + 7)
    added = store(storage, [(base + 30, b"short-lived")])
    undo(storage, added)
    commit(storage, lambda t: None, b"nobody", b"nothing")
    store(storage, [(base + 30, b"reborn"), (base + 1, b"x" * 100_000)])
    tid = p64(u64(storage.lastTransaction()) + 1000)

    def restore(transaction):
        storage.restore(p64(base + 2), tid, b"object 2" * 3, "", first, transaction)
        storage.restore(p64(base + 3), tid, None, "", None, transaction)
        storage.restore(p64(base + 4), tid, b"other", "", first, transaction)

    commit(storage, restore, tid=tid, status=" ")
    twice = store(storage, [(base + 5, b"once"), (base + 5, b"twice")])
    undo(storage, twice)


def digest(data):
    return "None" if data is None else "%d:%08x" % (len(data), zlib.adler32(data))


def load_before(storage, oid, before):
    try:
        found = storage.loadBefore(oid, before)
    except POSKeyError:
        return "KeyError"
    if found is None:
        return "None"
    data, serial, end = found
    return "%s %s %s" % (digest(data), serial.hex(), end.hex() if end else "None")


def dump(storage):
    print("N", len(storage), storage.lastTransaction().hex(), storage.getSize())
    revisions = {}
    for transaction in storage.iterator():
        print("T", transaction.tid.hex(), transaction.status, transaction.user.hex(), transaction.description.hex(),
              transaction.extension_bytes.hex())
        for record in transaction:
            prev = record.data_txn.hex() if record.data_txn else "None"
            print("R", record.oid.hex(), record.tid.hex(), digest(record.data), prev)
            revisions.setdefault(record.oid, set()).add(record.tid)
    for oid in sorted(revisions):
        if oid not in storage._index:
            continue
        for tid in sorted(revisions[oid]) + [MAX]:
            print("L", oid.hex(), tid.hex(), load_before(storage, oid, tid))
        print("H", oid.hex(), *("%s/%d" % (h["tid"].hex(), h["size"]) for h in storage.history(oid, 1000)))
    from base64 import decodebytes

    print("U", *(decodebytes(entry["id"] + b"\n").hex() for entry in storage.undoLog(0, -100000)))


def main(what, path):
    if what == "dump":
        dump(FileStorage(path, read_only=True))
        return
    storage = FileStorage(path)
    if what == "write":
        write(storage)
    elif what == "pack":
        storage.pack(time.time() + 60, lambda data, oids=None: [], gc=False)
    elif what == "undo-last":
        undo(storage, storage.lastTransaction())
    else:
        raise SystemExit("what is %r?" % what)
    storage.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
