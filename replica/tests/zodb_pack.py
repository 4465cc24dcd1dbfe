"""ZODB's side of the tests of pack.

    zodb_pack.py generate PATH SEED TRANSACTIONS OBJECTS   makes a database
    zodb_pack.py pack PATH FRACTION GC                     packs; prints the pack time as a tid
    zodb_pack.py dump PATH                                 prints what is in a log, a line a record
    zodb_pack.py references PATH                           prints each record's references
"""
import hashlib
import random
import sys

import transaction
from persistent.mapping import PersistentMapping
from persistent.TimeStamp import TimeStamp
from persistent.wref import WeakRef
import ZODB
from ZODB.blob import Blob
from ZODB.FileStorage import FileStorage
from ZODB.serialize import referencesf
from ZODB.utils import p64, u64, z64


def reachable(root):
    """Nodes that can be reached, in a fixed order: what is unreachable must not come back, since ZODB's pack would
    drop it, and ours would not."""
    found, todo, seen = [], [root['nodes']], set()
    while todo:
        node = todo.pop()
        if node._p_oid in seen:
            continue
        seen.add(node._p_oid)
        found.append(node)
        todo.extend(value for key, value in sorted(node.items()) if key.startswith('n'))
    return found


def generate(path, seed, transactions, objects, loose='', blobs=None):
    rng = random.Random(int(seed))
    db = ZODB.DB(FileStorage(path, blob_dir=blobs))
    manager = transaction.TransactionManager()
    connection = db.open(manager)
    root = connection.root()
    root['nodes'] = PersistentMapping()
    manager.commit()
    alive = [root['nodes']]
    batch = max(1, int(objects) // int(transactions))
    for number in range(int(transactions)):
        action = rng.random()
        manager.get().note('transaction %d' % number)
        cut = True
        try:
            if action < 0.5:
                cut = False
                for _ in range(rng.randint(1, 2 * batch)):
                    node = PersistentMapping()
                    node['data'] = 'x' * rng.randint(0, 800)
                    parent = rng.choice(alive[-1000:])
                    while 'n%d' % len(parent) in parent:
                        parent = rng.choice(alive[-1000:])
                    parent['n%d' % len(parent)] = node
                    connection.add(node)
                    alive.append(node)
                    if blobs and rng.random() < .3:
                        node['blob'] = Blob(b'%d' % number * rng.randint(1, 1000))
            elif action < 0.6:  # cycles and links across
                for _ in range(3):
                    rng.choice(alive)['n%d' % rng.randrange(50)] = rng.choice(alive)
            elif action < 0.7:  # weak references
                rng.choice(alive)['w'] = WeakRef(rng.choice(alive))
            elif action < 0.8:  # cut off
                for _ in range(rng.randint(1, 3)):
                    node = rng.choice(alive)
                    keys = [key for key in node if key.startswith('n')]
                    if keys:
                        del node[rng.choice(keys)]
            elif action < 0.85:  # new blob contents
                node = rng.choice(alive)
                if 'blob' in node:
                    with node['blob'].open('w') as stream:
                        stream.write(b'new %d' % number)
                node['data'] = number
            else:  # change
                for _ in range(rng.randint(1, 5)):
                    rng.choice(alive)['data'] = '%d' % number * rng.randint(1, 200)
            if 0.9 < action < 0.97:
                manager.abort()
                log = db.undoLog(0, 8)
                db.undo(rng.choice(log)['id'], manager.get())
            manager.commit()
        except Exception:
            manager.abort()
            cut = True
        if cut and not loose:
            manager.begin()
            alive = reachable(root)
    connection.close()
    db.close()


def tids(path):
    storage = FileStorage(path, read_only=True)
    result = [t.tid for t in storage.iterator()]
    storage.close()
    return result


def pack(path, fraction, gc, blobs=None):
    all_tids = tids(path)
    at = min(int(len(all_tids) * float(fraction)), len(all_tids) - 1)
    when = TimeStamp(all_tids[at]).timeTime() + 2e-6
    import time
    stop = TimeStamp(*time.gmtime(when)[:5] + (when % 60,)).raw()
    print(stop.hex(), flush=True)
    storage = FileStorage(path, pack_keep_old=False, blob_dir=blobs)
    started = time.time()
    storage.pack(when, referencesf, gc=bool(int(gc)))
    print('%.3f' % (time.time() - started))
    storage.close()


def dump(path):
    storage = FileStorage(path, read_only=True)
    oids = {}
    for t in storage.iterator():
        print('T', t.tid.hex(), t.status, t.user, t.description, t.extension_bytes.hex())
        for record in t:
            oids[record.oid] = record.tid
            data = record.data and hashlib.sha1(record.data).hexdigest()
            print('R', record.oid.hex(), record.tid.hex(), data, record.data_txn and record.data_txn.hex())
    for oid in sorted(oids):
        try:
            data, tid = storage.load(oid)
        except KeyError:
            print('O', oid.hex(), 'gone')
        else:
            print('O', oid.hex(), tid.hex(), hashlib.sha1(data).hexdigest())
        print('H', oid.hex(), [entry['tid'].hex() for entry in history(storage, oid)])
    storage.close()


def history(storage, oid):
    try:
        return storage.history(oid, size=1000)
    except KeyError:
        return []


def references(path):
    storage = FileStorage(path, read_only=True)
    for t in storage.iterator():
        for record in t:
            if record.data and record.data_txn is None:
                oids = ' '.join(str(u64(oid)) for oid in referencesf(record.data))
                print(u64(record.oid), u64(record.tid), oids)
    storage.close()


if __name__ == '__main__':
    globals()[sys.argv[1]](*sys.argv[2:])
