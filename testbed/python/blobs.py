"""Stock clients with blobs: large ones, up and down, streamed and through a shared directory; many in one transaction."""
import os
import time

import ZODB
from ZODB.blob import Blob

from common import client
from common import main
from common import say

PART = os.urandom(1 << 20)


def parts(size, head):
    """`size` bytes, in parts that differ from each other."""
    for start in range(0, size, len(PART)):
        yield (b'%s %d;' % (head, start) + PART)[:min(len(PART), size - start)]


def database(address, folder, shared):
    return ZODB.DB(client(address, blob_dir=folder, shared_blob_dir=shared))


def timed(what, size, since):
    seconds = time.monotonic() - since
    say('%s: %d MB in %.1f s, %.0f MB/s' % (what, size / 1e6, seconds, size / 1e6 / seconds))


def passes(address, name, up, down, size):
    """One client commits a blob of `size` bytes, another, which has nothing yet, reads it. `shared` for a client's
    folder is followed by the path of the server's own blob directory."""
    size = int(size)
    folders = [(folder.removeprefix('shared:'), folder.startswith('shared:')) for folder in (up, down)]
    db = database(address, *folders[0])
    with open(os.path.join(folders[0][0], 'made'), 'wb') as file:
        for part in parts(size, name.encode()):
            file.write(part)
    since = time.monotonic()
    with db.transaction() as connection:
        blob = connection.root()[name] = Blob()
        blob.consumeFile(file.name)
    timed(name + ' up', size, since)
    db.close()

    db = database(address, *folders[1])
    since = time.monotonic()
    with db.transaction() as connection:
        with connection.root()[name].open() as file:
            timed(name + ' down', size, since)
            for part in parts(size, name.encode()):
                assert file.read(len(part)) == part, 'another content before %d' % file.tell()
            assert not file.read(1)
    db.close()


def many(address, folder, count):
    """One transaction with this many blobs."""
    db = database(address, folder, False)
    with db.transaction() as connection:
        connection.root()['many'] = [Blob(b'%d' % number) for number in range(int(count))]
    db.close()
    db = database(address, folder + '-again', False)
    with db.transaction() as connection:
        for number, blob in enumerate(connection.root()['many']):
            with blob.open() as file:
                assert file.read() == b'%d' % number
    db.close()


main({'passes': passes, 'many': many})
