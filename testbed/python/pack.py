"""Packs a database with ZODB and with Standby to the same time, and holds the results against each other.

    pack.py STANDBY FOLDER SEED [DATA_FS [BLOBS]]
    pack.py bench STANDBY FOLDER OBJECTS ROUNDS

Without DATA_FS a database is generated from the seed: cycles, weak references, garbage, undo, deletions, records that
point back across the pack time, blobs. It is packed to several times one after the other, with and without garbage
collection. Prints one JSON object with the number of comparisons.

`bench` makes one large database and packs a copy of it with each in turn, each in a process of its own. Prints one JSON
object with seconds of the packs and of the whole processes (which make an index first), and peak memory in bytes.
"""
import json
import os
import random
import shutil
import subprocess
import sys
import time

import persistent
import persistent.mapping
import transaction
import ZODB.blob
import ZODB.FileStorage
from persistent.wref import WeakRef
from ZODB.serialize import referencesf
from ZODB.utils import p64, u64


def records(path, blob_dir=None):
    """Every transaction of a file with its records."""
    storage = ZODB.FileStorage.FileStorage(path, read_only=True)
    try:
        return [(txn.tid.hex(), txn.status, txn.user, txn.description, txn.extension_bytes,
                 [(u64(r.oid), r.tid.hex(), r.data, r.data_txn and r.data_txn.hex()) for r in txn])
                for txn in storage.iterator()]
    finally:
        storage.close()


def blobs(folder):
    found = {}
    for top, _, files in os.walk(folder):
        for name in files:
            if name.endswith('.blob'):
                with open(os.path.join(top, name), 'rb') as f:
                    found[os.path.relpath(os.path.join(top, name), folder)] = f.read()
    return found


def generate(path, blob_dir, seed, steps):
    """Returns the moments that are worth packing to."""
    rng = random.Random(seed)
    db = ZODB.DB(ZODB.FileStorage.FileStorage(path, blob_dir=blob_dir))
    moments = []
    connection = db.open()
    root = connection.root()
    for name in range(20):
        root[name] = persistent.mapping.PersistentMapping()
    transaction.commit()
    for step in range(steps):
        for _ in range(rng.randint(1, 4)):
            holder = root[rng.randrange(20)]
            what = rng.random()
            if what < 0.45:
                new = persistent.mapping.PersistentMapping(value=step, back=holder)
                holder[rng.randrange(6)] = new
            elif what < 0.6 and holder:
                holder.pop(next(iter(holder)), None)
            elif what < 0.7:
                holder['weak'] = WeakRef(root[rng.randrange(20)])
            elif what < 0.8:
                holder['blob'] = ZODB.blob.Blob(b'blob %d' % step)
            elif what < 0.85 and isinstance(holder.get('blob'), ZODB.blob.Blob):
                with holder['blob'].open('w') as f:
                    f.write(b'again %d' % step)
            else:
                holder['count'] = step
        transaction.get().note('step %d' % step)
        if rng.random() < 0.3:
            transaction.get().setExtendedInfo('step', step)
        transaction.commit()
        if rng.random() < 0.15:
            log = db.undoLog(0, 5)
            try:
                db.undo(log[rng.randrange(len(log))]['id'])
                transaction.commit()
            except ZODB.POSException.UndoError:
                transaction.abort()
            except ZODB.POSException.ConflictError:
                transaction.abort()
        if step and step % (steps // 4) == 0:
            time.sleep(0.01)
            moments.append(time.time())
            time.sleep(0.01)
    connection.close()
    db.close()
    return moments


def generate_large(path, blob_dir, objects):
    """Trees that are changed, linked across, cut off and brought back by undo. Returns the moment to pack to: a fifth
    of the history is after it."""
    rng = random.Random(objects)
    db = ZODB.DB(ZODB.FileStorage.FileStorage(path, blob_dir=blob_dir))
    connection = db.open()
    root = connection.root()
    for name in range(50):
        root[name] = persistent.mapping.PersistentMapping()
    transaction.commit()
    made, recent, moment = 0, [root[name] for name in range(50)], None
    batch = max(20, objects // 250)
    while made < objects:
        for _ in range(batch):
            holder = rng.choice(recent)
            new = persistent.mapping.PersistentMapping(value=bytes(rng.randrange(600)), back=holder)
            holder[len(holder) + 10] = new
            recent.append(new)
            if rng.random() < 0.05:
                new['weak'] = WeakRef(rng.choice(recent))
            if rng.random() < 0.05:
                new['across'] = rng.choice(recent)
            if rng.random() < 0.005:
                new['blob'] = ZODB.blob.Blob(b'blob %d' % made)
            made += 1
        for _ in range(batch // 4):
            rng.choice(recent)['value'] = made
        transaction.get().note('made %d' % made)
        transaction.commit()
        if rng.random() < 0.2:
            holder = root[rng.randrange(50)]
            for key in list(holder)[:3]:
                del holder[key]
            # What is cut off stays so, or ZODB would remove what later transactions link again.
            transaction.commit()
            if rng.random() < 0.5:
                db.undo(db.undoLog(0, 1)[0]['id'])
                transaction.commit()
            recent = [root[name] for name in range(50)]
            connection.cacheMinimize()
        elif len(recent) > 20000:
            recent = recent[:50] + recent[-5000:]
        if moment is None and made >= objects * 0.8:
            time.sleep(0.01)
            moment = time.time()
            time.sleep(0.01)
    connection.close()
    db.close()
    return moment


def bench_zodb(path, blob_dir, moment):
    """Run in a process of its own, for its memory."""
    seconds = zodb_pack(path, blob_dir, float(moment), True)
    print(json.dumps({'seconds': seconds}))


def measured(args):
    """Runs a command; what it printed as JSON, how long it took and its peak memory in bytes (looked at again and
    again, since what the system says at the end includes the memory of the process that started it)."""
    began = time.time()
    process = subprocess.Popen(args, stdout=subprocess.PIPE)
    peak = 0
    while process.poll() is None:
        with open('/proc/%d/status' % process.pid) as status:
            peak = max([peak] + [int(line.split()[1]) * 1024 for line in status if line.startswith('VmHWM:')])
        time.sleep(0.002)
    took = time.time() - began
    assert process.returncode == 0, args
    return json.loads(process.stdout.read()), took, peak


def bench(standby, folder, objects, rounds):
    source, source_blobs = os.path.join(folder, 'Data.fs'), os.path.join(folder, 'blobs')
    moment = generate_large(source, source_blobs, int(objects))
    before = records(source)
    result = {'objects': len({oid for txn in before for oid, *_ in txn[5]}),
              'records': sum(len(txn[5]) for txn in before), 'bytes': os.path.getsize(source),
              'zodb_seconds': [], 'standby_seconds': [], 'zodb_whole': [], 'standby_whole': [],
              'zodb_peak': [], 'standby_peak': []}
    before = revisions_of(before)
    for number in range(int(rounds)):
        places = {}
        for name in ('zodb', 'standby'):
            places[name] = place = os.path.join(folder, '%s%d' % (name, number))
            os.makedirs(place)
            shutil.copy(source, os.path.join(place, 'Data.fs'))
            shutil.copytree(source_blobs, os.path.join(place, 'blobs'))
        os.sync()
        path, blob_dir = os.path.join(places['zodb'], 'Data.fs'), os.path.join(places['zodb'], 'blobs')
        said, took, peak = measured([sys.executable, __file__, 'bench-zodb', path, blob_dir, repr(moment)])
        result['zodb_seconds'].append(said['seconds'])
        result['zodb_whole'].append(took)
        result['zodb_peak'].append(peak)
        path, blob_dir = os.path.join(places['standby'], 'Data.fs'), os.path.join(places['standby'], 'blobs')
        said, took, peak = measured([standby, 'pack', path, '--blobs', blob_dir, '--before', repr(moment), '--json',
                                     '--log', 'error'])
        result['standby_seconds'].append(said['seconds'])
        result['standby_whole'].append(took)
        result['standby_peak'].append(peak)
        left = records(os.path.join(places['zodb'], 'Data.fs'))
        same(left, records(path), 'round %d' % number)
        compare_blobs(places['zodb'], places['standby'], before, left, 'round %d' % number)
        result['records_left'] = sum(len(txn[5]) for txn in left)
        for place in places.values():
            shutil.rmtree(place)
    print(json.dumps(result))


def zodb_pack(path, blob_dir, moment, gc):
    storage = ZODB.FileStorage.FileStorage(path, blob_dir=blob_dir, pack_gc=gc)
    began = time.time()
    storage.pack(moment, referencesf)
    took = time.time() - began
    storage.close()
    return took


def standby_pack(standby, path, blob_dir, moment, gc):
    args = [standby, 'pack', path, '--before', repr(moment), '--json', '--log', 'error']
    if blob_dir:
        args += ['--blobs', blob_dir]
    if not gc:
        args.append('--no-gc')
    began = time.time()
    report = json.loads(subprocess.run(args, check=True, stdout=subprocess.PIPE).stdout)
    return time.time() - began, report


def same(left, right, what):
    assert len(left) == len(right), '%s: %d transactions against %d' % (what, len(left), len(right))
    for a, b in zip(left, right):
        assert a == b, '%s: ZODB has %r, Standby %r' % (what, a, b)


def revisions_of(transactions):
    return {(oid, tid) for txn in transactions for oid, tid, data, _ in txn[5] if data is not None}


def compare_blobs(theirs, ours, before, left, what):
    """The same blobs, but for those that ZODB loses: where an object cannot be reached at the pack time, it removes the
    blobs of all its revisions, those after the pack time too, which stay in the log. Files that belong to no revision
    (an undo that failed leaves them) are nobody's."""
    zodb, standby = blobs(os.path.join(theirs, 'blobs')), blobs(os.path.join(ours, 'blobs'))
    revisions = revisions_of(left)
    for path, contents in zodb.items():
        assert standby.get(path) == contents, '%s: blob %s' % (what, path)
    for path in set(standby) - set(zodb):
        parts = path.split(os.sep)
        revision = int(''.join(part[2:] for part in parts[:-1]), 16), parts[-1][2:18]
        assert revision in revisions or revision not in before, '%s: the blob %s of a removed revision' % (what, path)


def main():
    standby, folder, seed = sys.argv[1], sys.argv[2], int(sys.argv[3])
    given = sys.argv[4:]
    compared = zodb_failed = 0
    times = {'zodb_seconds': 0.0, 'standby_seconds': 0.0}
    for gc in (True, False):
        ours, theirs = os.path.join(folder, 'ours%d' % gc), os.path.join(folder, 'theirs%d' % gc)
        for place in (ours, theirs):
            os.makedirs(place)
        source = os.path.join(theirs, 'Data.fs')
        if given:
            shutil.copy(given[0], source)
            shutil.copytree(given[1], os.path.join(theirs, 'blobs'))
            moments = [time.time()]
        else:
            moments = generate(source, os.path.join(theirs, 'blobs'), seed, 120)
            moments.append(time.time())
        before = revisions_of(records(source))
        shutil.copy(source, os.path.join(ours, 'Data.fs'))
        shutil.copytree(os.path.join(theirs, 'blobs'), os.path.join(ours, 'blobs'))
        for moment in moments:
            what = 'seed %d, gc %s, packed to %r' % (seed, gc, moment)
            try:
                times['zodb_seconds'] += zodb_pack(source, os.path.join(theirs, 'blobs'), moment, gc)
            except AssertionError:
                # fspack.copyOne, where a later record points back to one that ZODB has just dropped.
                zodb_failed += 1
                break
            took, _ = standby_pack(standby, os.path.join(ours, 'Data.fs'), os.path.join(ours, 'blobs'), moment, gc)
            times['standby_seconds'] += took
            left = records(source)
            same(left, records(os.path.join(ours, 'Data.fs')), what)
            compare_blobs(theirs, ours, before, left, what)
            subprocess.run([standby, 'verify', os.path.join(ours, 'Data.fs'), '--log', 'error'], check=True,
                           stdout=subprocess.DEVNULL)
            compared += 1
    print(json.dumps({'compared': compared, 'zodb_failed': zodb_failed, **times}))


if __name__ == '__main__':
    if sys.argv[1] == 'bench':
        bench(*sys.argv[2:])
    elif sys.argv[1] == 'bench-zodb':
        bench_zodb(*sys.argv[2:])
    else:
        main()
