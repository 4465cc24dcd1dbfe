"""Holds `standby dump --json` against ZODB's fsdump, line by line."""
import io
import json

import transaction
from ZODB import DB
from ZODB.blob import Blob
from ZODB.FileStorage import FileStorage
from ZODB.FileStorage.fsdump import fsdump
from ZODB.TimeStamp import TimeStamp
from ZODB.utils import p64

from common import main
from common import say

STATUS = {'committed': ' ', 'packed': 'p', 'undone': 'u'}


def as_fsdump(number, t):
    """The lines that fsdump has for one of our transactions."""
    tid, user, description = int(t['tid'], 16), t['user'].encode(), t['description'].encode()
    stamp = TimeStamp(p64(tid))
    ours = TimeStamp(*(int(part) for part in (t['time'][:4], t['time'][5:7], t['time'][8:10], t['time'][11:13],
                                               t['time'][14:16])), float(t['time'][17:-1]))
    assert abs(stamp.timeTime() - ours.timeTime()) < 2e-6, (t['time'], stamp)
    yield 'Trans #%05d tid=%016x size=%d time=%s' % (number, tid, t['size'], stamp)
    yield '    status=%r user=%r description=%r' % (STATUS[t['status']], user, description)
    for i, r in enumerate(t['records']):
        size = '' if r['size'] is None else ' size=%d' % r['size']
        name = 'undo or abort of object creation' if r['size'] is None else r['class']
        back = '' if r['data_tid'] is None else ' bp=%016x' % int(r['data_tid'], 16)
        yield '  data #%05d oid=%016x%s class=%s%s' % (i, int(r['oid'], 16), size, name, back)
        assert r['blob'] == (r['class'] == 'ZODB.blob.Blob')


def compare(path, listing):
    dump = io.StringIO()
    fsdump(path, dump, with_offset=0)
    theirs = dump.getvalue().splitlines()
    with open(listing, encoding='utf-8') as lines:
        ours = [line for i, t in enumerate(lines) for line in as_fsdump(i, json.loads(t))]
    for mine, other in zip(ours, theirs):
        assert mine == other, 'they differ:\n%s\n%s' % (mine, other)
    assert len(ours) == len(theirs), (len(ours), len(theirs))
    say('%d lines' % len(ours))


def with_blobs(path, folder):
    """Blobs, packed transactions, and undone changes of blobs."""
    db = DB(FileStorage(path, blob_dir=folder))
    connection = db.open()
    root = connection.root()
    for i in range(5):
        root['blob'] = Blob(b'contents %d' % i)
        transaction.commit()
    db.undo(db.undoLog(0, 1)[0]['id'])
    transaction.commit()
    db.pack()
    connection.sync()
    for i in range(3):
        root['blob'].open('w').write(b'again %d' % i)
        transaction.commit()
        db.undo(db.undoLog(0, 1)[0]['id'])
        transaction.commit()
        connection.sync()
    db.close()


main({'compare': compare, 'with-blobs': with_blobs})
