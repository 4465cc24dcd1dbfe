"""Stock clients of a cluster whose primary changes."""
import sys
import threading
import time

import transaction
import ZEO
import ZODB
from common import hear
from common import main
from common import say
from persistent.mapping import PersistentMapping
from ZODB.POSException import ConflictError
from ZODB.POSException import POSError
from ZODB.POSException import StorageError
from ZODB.utils import tid_repr

PATIENCE = 60


def addresses(texts):
    return [(host, int(port)) for host, port in (text.rsplit(':', 1) for text in texts)]


def database(mode, folder, texts, **options):
    """Opens it, also when the primary changes just then."""
    return retried('opening', lambda: open_database(mode, folder, texts, **options))


def open_database(mode, folder, texts, **options):
    storage = ZEO.ClientStorage.ClientStorage(
        addresses(texts), wait=True, wait_timeout=PATIENCE, client=mode, var=folder,
        read_only=mode == 'reader', read_only_fallback=mode == 'fallback', **options)
    try:
        return ZODB.DB(storage)
    except BaseException:
        storage.close()
        raise


def retried(what, work):
    """Does what clients do by themselves: tries again while the server is away or another client was faster."""
    deadline = time.time() + PATIENCE
    while True:
        try:
            return work()
        except (ConflictError, StorageError, POSError, transaction.interfaces.TransactionError) as error:
            transaction.abort()
            if time.time() > deadline:
                raise AssertionError('%s: %r for %s seconds' % (what, error, PATIENCE))
            time.sleep(0.02)


def writer(mode, name, folder, *texts):
    """Counts, one transaction a number, and never sees less than what was acknowledged."""
    db = database(mode, folder, texts)

    def begin():
        with db.transaction() as connection:
            connection.root()[name] = PersistentMapping(count=0)
    retried('beginning', begin)
    say('begun')
    told = ['']

    def listen():
        while told[0] != 'stop':
            told[0] = sys.stdin.readline().strip()
    threading.Thread(target=listen, daemon=True).start()
    acknowledged = 0
    said = ''
    longest, last = 0, time.perf_counter()
    while told[0] != 'stop':
        tried = []
        mark = told[0]

        def count():
            with db.transaction() as connection:
                mine = connection.root()[name]
                # One whose answer never came may have been committed.
                assert acknowledged <= mine['count'] <= acknowledged + len(tried), (
                    'acknowledged %d, found %d' % (acknowledged, mine['count']))
                mine['count'] += 1
                tried.append(mine['count'])
        retried('counting', count)
        acknowledged = tried[-1]
        now = time.perf_counter()
        longest, last = max(longest, now - last), now
        if mark != said:
            # This one began after it was asked for.
            said = mark
            say('wrote %s longest gap %.1f ms' % (mark, longest * 1000))
            longest = 0
    last = db.storage.lastTransaction()
    db.close()
    say('ended at %d, %s' % (acknowledged, tid_repr(last)))


def reader(folder, *texts):
    """Reads what the writers count, which only grows."""
    db = database('reader', folder, texts)
    say('begun')
    stop = threading.Event()
    threading.Thread(target=lambda: (hear('stop'), stop.set()), daemon=True).start()
    seen = {}

    def read():
        with db.transaction() as connection:
            root = connection.root()
            for name in root:
                count = root[name]['count']
                assert count >= seen.get(name, 0), '%s: %d after %d' % (name, count, seen[name])
                seen[name] = count
    while not stop.is_set():
        retried('reading', read)
        time.sleep(0.005)
    db.close()
    say('read %d writers' % len(seen))


if __name__ == '__main__':
    main({'writer': writer, 'reader': reader})
