"""What `server_status` says of each client, to stock clients who know what they have done."""
import contextlib
import json
import pickle
import socket
import struct
import threading
import time

import transaction
from ZODB.POSException import ConflictError
from ZODB.POSException import POSKeyError
from ZODB.utils import maxtid
from ZODB.utils import z64

from common import Counter
from common import client
from common import database
from common import main
from common import p64
from common import say

STOCK = {'connections', 'loads', 'stores', 'commits', 'aborts', 'active_txns', 'lock_time', 'conflicts',
         'conflicts_resolved', 'start', 'waiting', 'timeout-thread-is-alive', 'last-transaction'}
OURS = {'label', 'address', 'since', 'read_only', 'loads', 'stores', 'commits', 'aborts', 'conflicts', 'waiting',
        'queued_bytes'}


class Raw:
    """A connection of which the test decides what is read."""

    def __init__(self, address):
        host, port = address.rsplit(':', 1)
        self.socket = socket.create_connection((host, int(port)), 20)
        self.file = self.socket.makefile('rb')
        self.greeting = self.frame()

    def frame(self):
        return self.file.read(struct.unpack('>I', self.file.read(4))[0])

    def send(self, *frames):
        self.socket.sendall(b''.join(struct.pack('>I', len(frame)) + frame for frame in frames))

    def close(self):
        self.file.close()
        self.socket.close()


def ruok(address):
    """As zeo-nagios asks."""
    raw = Raw(address)
    raw.send(b'ruok')
    answer = json.loads(raw.frame())
    raw.close()
    return answer['1']


def until(what, condition):
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, 'not in 60 s: ' + what
        time.sleep(0.02)


def status(storage):
    return storage._call('server_status')


def of(storage, label):
    found = [c for c in status(storage)['clients'] if c['label'] == label]
    assert len(found) == 1, (label, status(storage)['clients'])
    return found[0]


def counts(address):
    began = time.time()
    watcher = client(address, client_label='the watcher', cache_size=0)
    writer = database(address, client_label='the writer')
    reader = client(address, client_label='the reader', read_only=True)
    nameless = client(address)

    connection = writer.open()
    connection.root()['counter'] = Counter()
    transaction.commit()
    for i in range(3):
        connection.root()['counter'].value = i
        transaction.commit()
    before = of(watcher, 'the reader')['loads']
    for i in range(7):      # which no client has in its cache
        with contextlib.suppress(POSKeyError):
            reader.loadBefore(p64(1000 + i), maxtid)
    seen = status(watcher)
    assert set(seen) == STOCK | {'clients'}, set(seen) ^ (STOCK | {'clients'})
    assert all(set(c) == OURS for c in seen['clients']), seen['clients']
    assert [c['label'] for c in seen['clients']] == ['the watcher', 'the writer', 'the reader', None]
    assert seen['connections'] == 4
    for c in seen['clients']:
        assert began - 1 < c['since'] < time.time() + 1, c
        assert c['address'].startswith('127.0.0.1:') and not c['waiting'] and c['queued_bytes'] == 0, c
        assert c['conflicts'] == 0, c
    for key in ('loads', 'stores', 'commits', 'aborts'):
        assert seen[key] == sum(c[key] for c in seen['clients']), key
    own = of(watcher, 'the writer')
    assert own['commits'] == seen['commits'] == 5 and own['stores'] == seen['stores'] >= 6, own
    assert not own['read_only'] and of(watcher, 'the reader')['read_only']
    assert of(watcher, 'the reader')['loads'] == before + 7
    assert len({c['address'] for c in seen['clients']}) == 4

    # What a client did stays in the totals when it leaves; ruok has the stock server's keys.
    reader.close()
    until('the reader is gone', lambda: status(watcher)['connections'] == 3)
    after = status(watcher)
    assert after['loads'] >= seen['loads'] and len(after['clients']) == 3
    assert set(ruok(address)) == STOCK

    conflict(address, watcher)
    writer.close()
    nameless.close()
    watcher.close()
    say('%r' % (own,))


def conflict(address, watcher):
    """One waits for another's locks, and then it conflicts."""
    first, second = (client(address, client_label=label) for label in ('first', 'second'))
    data, serial = first.loadBefore(z64, maxtid)[:2]
    t, u = transaction.get(), transaction.TransactionManager().get()
    first.tpc_begin(t)
    first.store(z64, serial, data, '', t)
    first.tpc_vote(t)
    second.tpc_begin(u)
    second.store(z64, serial, data, '', u)
    failed = []

    def vote():
        try:
            second.tpc_vote(u)
        except ConflictError as error:
            failed.append(error)
    thread = threading.Thread(target=vote, daemon=True)
    thread.start()
    until('the second waits', lambda: of(watcher, 'second')['waiting'])
    assert not of(watcher, 'first')['waiting'] and status(watcher)['waiting'] == 1
    first.tpc_finish(t)
    thread.join(60)
    assert not thread.is_alive()
    waited = of(watcher, 'second')
    # The stock client resolves: same class, same state, no resolver: it cannot, and says so.
    assert failed and waited['conflicts'] >= 1 and not waited['waiting'], (failed, waited)
    second.tpc_abort(u)
    assert of(watcher, 'first')['conflicts'] == 0
    first.close()
    second.close()


def queued(address):
    """A client that asks for much and reads nothing."""
    watcher = client(address, client_label='the watcher')
    lazy = Raw(address)

    def call(number, method, *args):
        return pickle.dumps((number, 0, method, args), 3)
    lazy.send(b'Z5', call(1, 'register', '1', True), call(2, 'set_client_label', 'lazy'))
    lazy.send(*(call(i, 'server_status') for i in range(3, 8_000)))
    until('something is queued', lambda: of(watcher, 'lazy')['queued_bytes'] > 0)
    seen = of(watcher, 'lazy')
    assert seen['queued_bytes'] < 4 << 20, seen
    lazy.close()
    until('it is gone', lambda: set(status(watcher)) == STOCK)  # the one who is left gets the stock server's keys
    watcher.close()
    say('%r' % (seen,))


main({'counts': counts, 'queued': queued})
