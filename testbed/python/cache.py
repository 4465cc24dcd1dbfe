"""A persistent client cache that outlives a restart of the server, and is verified, not thrown away."""
import logging
import time

from persistent.mapping import PersistentMapping
from ZODB.utils import load_current

from common import client
from common import database
from common import hear
from common import main
from common import p64
from common import say

OBJECTS = 400
CHANGED = (7, 77, 177)


def oids(storage):
    return [p64(number) for number in range(1, OBJECTS + 1)]


def fill(address):
    db = database(address)
    with db.transaction() as connection:
        root = connection.root()
        for number in range(OBJECTS):
            root[number] = PersistentMapping(number=number)
    assert len(db.storage) == OBJECTS + 1
    db.close()


def loads(storage):
    return storage.server_status()['loads']


class Messages(logging.Handler):
    """What ZEO's client says about its cache."""

    def __init__(self):
        super().__init__()
        self.texts = []
        logging.getLogger('ZEO').addHandler(self)
        logging.getLogger('ZEO').setLevel(logging.INFO)

    def emit(self, record):
        self.texts.append(record.getMessage())


def read_all(storage):
    return {oid: load_current(storage, oid) for oid in oids(storage)}


def stays(address, folder):
    """The client stays while the server restarts."""
    messages = Messages()
    storage = client(address, client='stays', var=folder, cache_size=20_000_000)
    before = read_all(storage)
    assert loads(storage) >= OBJECTS
    down_before = len(messages.texts)
    say('cache is full')
    hear('restarted')
    deadline = time.monotonic() + 60
    while not (storage.is_connected() and len(messages.texts) > down_before):
        assert time.monotonic() < deadline, 'the client did not come back'
        time.sleep(.01)
    storage.sync()
    after = read_all(storage)
    assert after == before
    told = messages.texts[down_before:]
    assert not any('clear' in text for text in told), told
    assert loads(storage) <= 3, '%d loads after the restart' % loads(storage)
    storage.close()


def comes_back(address, folder, changes_expected):
    """A client with a cache file from before reads again: only what changed is loaded."""
    messages = Messages()
    storage = client(address, client='comes-back', var=folder, cache_size=20_000_000)
    before = loads(storage)
    read_all(storage)
    loaded = loads(storage) - before
    if changes_expected != 'all':
        assert not any('clear' in text for text in messages.texts), messages.texts
        assert loaded == int(changes_expected), '%d loads, expected %s' % (loaded, changes_expected)
    else:
        assert loaded == OBJECTS, loaded
    storage.close()


def lost(address, folder):
    """A client whose cache has seen what was lost reads what is left, and loads nothing else anew."""
    truth = client(address, cache_size=20_000_000)
    expected = read_all(truth)
    truth.close()
    messages = Messages()
    storage = client(address, client='comes-back', var=folder, cache_size=20_000_000)
    before = loads(storage)
    assert read_all(storage) == expected
    loaded = loads(storage) - before
    assert not any('clear' in text for text in messages.texts), messages.texts
    assert loaded == len(CHANGED), '%d loads' % loaded
    storage.close()


def change(address):
    db = database(address)
    with db.transaction() as connection:
        for number in CHANGED:
            connection.get(p64(number))['changed'] = True
    db.close()


main({'fill': fill, 'stays': stays, 'comes-back': comes_back, 'change': change, 'lost': lost})
