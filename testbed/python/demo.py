"""Stock clients of the demonstration: they work on a site beside what it has, and read that again and again.

Writers stamp pages as those of `stamps` do, in a mapping of their own under the root, and now and then upload a file, which they list in
a BTree. Readers read all of that. Visitors read the site's own records and blobs, whatever their classes are, and hold them against the
copy that was taken before the start.
"""
import os
import random
import time

import stamps
from BTrees.OOBTree import OOBTree
from common import main
from common import say
from failover import database
from failover import retried
from persistent.mapping import PersistentMapping
from ZODB.blob import Blob
from ZODB.FileStorage import FileStorage
from ZODB.POSException import POSKeyError
from ZODB.utils import z64

OURS = 'standby demonstration'
UPLOAD_EVERY = 10
VISITED = 20_000


class Historian(stamps.Historian):
    """One whose objects are in a mapping of their own."""

    def __init__(self, mode, folder, texts):
        super().__init__(mode, folder, texts, blob_dir=os.path.join(folder, 'blobs'))

    def ours(self, connection):
        root = connection.root()
        if OURS not in root:
            root[OURS] = PersistentMapping(pages=PersistentMapping(), files=OOBTree())
        return root[OURS]

    def heads(self, connection):
        return self.ours(connection)['pages']


def writer(mode, name, folder, *texts):
    client = Historian(mode, folder, texts)

    def upload(connection, number):
        if number % UPLOAD_EVERY == 0:
            key = '%s %05d' % (name, number)
            client.ours(connection)['files'][key] = Blob(key.encode())
    stamps.write(client, name, upload)


def reader(folder, *texts):
    client = Historian('reader', folder, texts)

    def download(connection):
        files = client.ours(connection)['files']
        if files:
            key = random.choice(list(files.keys())[-20:])
            with files[key].open() as file:
                assert file.read() == key.encode(), 'the file %r has another content' % key

    def wait():
        with client.db.transaction() as connection:
            if OURS not in connection.root():
                raise POSKeyError(z64)
    retried('waiting for a writer', wait)
    stamps.read(client, download)


def visitor(folder, site, blobs, *texts):
    """Says how many records and blobs it has compared, and ends with an error at the first that differs."""
    site = FileStorage(site, read_only=True, blob_dir=blobs)
    oids, after = [], None
    while len(oids) < VISITED:
        oid, _, _, after = site.record_iternext(after)
        if oid != z64:  # the root has one more entry now
            oids.append(oid)
        if after is None:
            break
    files = [oid for oid in oids if is_blob(site, oid)]
    db = database('reader', folder, texts, blob_dir=os.path.join(folder, 'blobs'))
    commands = stamps.told()
    say('begun')
    records = downloads = 0

    def visit(oid):
        data, serial = db.storage.load(oid)
        assert (data, serial) == site.load(oid), 'object %s differs' % oid.hex()
        return serial

    def download(oid):
        with open(db.storage.loadBlob(oid, visit(oid)), 'rb') as file:
            with open(site.loadBlob(oid, site.load(oid)[1]), 'rb') as original:
                assert file.read() == original.read(), 'blob %s differs' % oid.hex()
    while True:
        command, *_ = stamps.take(commands)
        if command == 'stop':
            break
        for oid in random.sample(oids, min(20, len(oids))):
            retried('visiting', lambda oid=oid: visit(oid))
            records += 1
        if files:
            retried('downloading', lambda: download(random.choice(files)))
            downloads += 1
        time.sleep(0.02)
    db.close()
    say('visited %d %d' % (records, downloads))


def is_blob(site, oid):
    try:
        site.loadBlob(oid, site.load(oid)[1])
    except POSKeyError:
        return False
    return True


if __name__ == '__main__':
    main({'writer': writer, 'reader': reader, 'visitor': visitor})
