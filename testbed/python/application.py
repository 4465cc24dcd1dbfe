"""A ZODB application on one server: BTrees, two processes, conflicts, undo, history."""
import os
import subprocess
import sys
import time

import transaction
from BTrees.IOBTree import IOBTree
from BTrees.OOBTree import OOBTree
from BTrees.OOBTree import OOTreeSet
from persistent.mapping import PersistentMapping
from ZODB.POSException import ConflictError
from ZODB.POSException import POSKeyError
from ZODB.POSException import ReadConflictError

from common import Counter
from common import database
from common import hear
from common import main
from common import p64
from common import say


def other_process(*arguments):
    """Another process of this application."""
    return subprocess.Popen([sys.executable, '-u', os.path.abspath(__file__), *arguments], stdin=subprocess.PIPE,
                            stdout=subprocess.PIPE, text=True)


def expect(process, line):
    said = process.stdout.readline().rstrip('\n')
    assert said == line, (said, line)


def wait_for(what, condition, seconds=30):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, 'waited in vain for ' + what
        time.sleep(.01)


def btrees(address):
    """BTrees that one process fills are whole in another, which is told of later changes."""
    db = database(address)
    with db.transaction('made by the first') as connection:
        root = connection.root()
        root['names'] = OOBTree({'name %05d' % i: i for i in range(3000)})
        root['numbers'] = IOBTree()
        root['numbers'].update({i: 'text %d' % i for i in range(0, 6000, 2)})
        root['set'] = OOTreeSet(['ä', 'ö', 'ü'])
        root['big'] = PersistentMapping(data='x' * 3_000_000)
    reader = other_process('btrees-reader', address)
    expect(reader, 'all there')
    with db.transaction('changed by the first') as connection:
        root = connection.root()
        for i in range(1, 6000, 2):
            root['numbers'][i] = 'text %d' % i
        del root['names']['name 00007']
        root['set'].insert('ß')
    reader.stdin.write('changed\n')
    reader.stdin.flush()
    expect(reader, 'changes seen')
    assert reader.wait(60) == 0
    with db.transaction() as connection:
        assert connection.root()['from the reader'] == 'hello'
    db.close()


def btrees_reader(address):
    db = database(address)
    connection = db.open()
    root = connection.root()
    assert len(root['names']) == 3000 and root['names']['name 02999'] == 2999
    assert list(root['numbers'].keys(0, 10)) == [0, 2, 4, 6, 8, 10]
    assert list(root['set']) == ['ä', 'ö', 'ü']
    assert root['big']['data'] == 'x' * 3_000_000
    say('all there')
    hear('changed')

    def seen():
        connection.sync()
        return len(root['numbers']) == 6000

    wait_for('the invalidations', seen)
    assert 'name 00007' not in root['names'] and len(root['names']) == 2999
    assert list(root['set']) == ['ß', 'ä', 'ö', 'ü']
    for name in ('names', 'numbers', 'set'):
        root[name]._check()
    root['from the reader'] = 'hello'
    transaction.commit()
    db.close()
    say('changes seen')


def two_connections(db):
    """Two independent connections to the same database."""
    managers = [transaction.TransactionManager() for _ in range(2)]
    return [(manager, db.open(manager)) for manager in managers]


def resolving(address):
    """Conflicts of a class with _p_resolveConflict and of BTrees resolve."""
    db = database(address)
    with db.transaction() as connection:
        connection.root()['counter'] = Counter()
        connection.root()['tree'] = OOBTree({'a': 1, 'z': 1})
    (ta, a), (tb, b) = two_connections(db)
    for connection in (a, b):
        connection.root()['counter'].value += 1
    a.root()['tree']['from a'] = 1
    b.root()['tree']['from b'] = 2
    ta.commit()
    tb.commit()     # both objects conflict
    for manager, connection in ((ta, a), (tb, b)):
        manager.begin()
        assert connection.root()['counter'].value == 2
        assert dict(connection.root()['tree']) == {'a': 1, 'from a': 1, 'from b': 2, 'z': 1}
        connection.close()
    # Two processes at the same time. That the counter comes out right shows that nobody's work got lost.
    workers = [other_process('counting', address, str(number)) for number in (1, 2)]
    for worker in workers:
        expect(worker, 'ready')
    for worker in workers:
        worker.stdin.write('go\n')
        worker.stdin.flush()
    given_up = 0
    for worker in workers:
        said = worker.stdout.readline()
        assert said.startswith('gave up '), said
        given_up += int(said.split()[2])
        assert worker.wait(120) == 0
    with db.transaction() as connection:
        assert connection.root()['counter'].value == 202, connection.root()['counter'].value
        tree = connection.root()['tree']
        assert len(tree) == 204, len(tree)
        tree._check()
    say('conflicts that the clients could not resolve: %d' % given_up)
    db.close()


def counting(address, number):
    db = database(address)
    connection = db.open()
    connection.root()['tree'].get('a'), connection.root()['counter'].value
    say('ready')
    hear('go')
    given_up = 0
    for i in range(100):
        while True:
            transaction.begin()
            connection.root()['counter'].value += 1
            connection.root()['tree']['%s %03d' % (number, i)] = i
            try:
                transaction.commit()
                break
            except ConflictError:   # a bucket that both split, for one
                given_up += 1
                transaction.abort()
    say('gave up %d' % given_up)
    db.close()


def conflicting(address):
    """Conflicts that nobody can resolve are ConflictErrors, and the loser sees the winner's value then."""
    db = database(address)
    with db.transaction() as connection:
        connection.root()['plain'] = PersistentMapping(value=0)
        connection.root()['other'] = PersistentMapping(value=0)
    (ta, a), (tb, b) = two_connections(db)
    a.root()['plain']['value'] = 'from a'
    b.root()['plain']['value'] = 'from b'
    ta.commit()
    try:
        tb.commit()
    except ConflictError as error:
        assert not isinstance(error, ReadConflictError)
        assert error.oid == b.root()['plain']._p_oid, error
    else:
        raise AssertionError('the second commit went through')
    tb.abort()
    assert b.root()['plain']['value'] == 'from a'
    b.root()['plain']['value'] = 'from b, again'
    tb.commit()
    # An object that was only read, but must not have changed
    ta.begin()
    a.readCurrent(a.root()['plain'])
    assert a.root()['plain']['value'] == 'from b, again'
    a.root()['other']['value'] = 1
    tb.begin()
    b.root()['plain']['value'] = 'changed meanwhile'
    tb.commit()
    try:
        ta.commit()
    except ReadConflictError as error:
        assert error.oid == a.root()['plain']._p_oid
    else:
        raise AssertionError('read of an outdated object went through')
    ta.abort()
    assert a.root()['other']['value'] == 0
    db.close()


def undo(address):
    """Undo, undo of an undo, undo of a creation, and one that is refused."""
    db = database(address)
    connection = db.open()
    root = connection.root()

    def commit(user, note):
        transaction.get().setUser(user)
        transaction.get().note(note)
        transaction.get().setExtendedInfo('request', 'request of ' + user)
        transaction.commit()

    root['page'] = PersistentMapping(text='first')
    commit('alice', 'create the page')
    for text in ('second', 'third'):
        root['page']['text'] = text
        commit('bob', 'edit: ' + text)

    log = db.undoInfo()
    assert [entry['description'] for entry in log[:3]] == ['edit: third', 'edit: second', 'create the page'], log
    assert log[0]['user_name'] == '/ bob' and log[0]['request'] == 'request of bob', log[0]
    found = [e['description'] for e in db.undoInfo(specification={'user_name': b'/ alice'})]
    assert found == ['create the page'], found

    db.undo(log[0]['id'])
    commit('carol', 'undo the third')
    connection.sync()
    assert root['page']['text'] == 'second'
    db.undo(db.undoInfo()[0]['id'])
    commit('carol', 'undo the undo')
    connection.sync()
    assert root['page']['text'] == 'third'
    # The second edit is no longer the current one: refused
    old = next(e for e in db.undoInfo() if e['description'] == 'edit: second')
    db.undo(old['id'])
    try:
        transaction.commit()
    except Exception as error:
        assert 'Undo' in type(error).__name__ or 'Undo' in str(error), repr(error)
        transaction.abort()
    else:
        raise AssertionError('an undo in the middle went through')
    # Undo everything, to before there was a page, in one transaction
    page = root['page']._p_oid
    db.undoMultiple([e['id'] for e in db.undoInfo()[:5]])
    commit('dave', 'undo it all')
    connection.sync()
    assert 'page' not in connection.root()
    try:
        db.storage.load(page)
    except POSKeyError:
        pass
    else:
        raise AssertionError('the page outlived its undone creation')
    db.close()


def history(address):
    """The history of an object, newest first, and its old revisions."""
    db = database(address)
    connection = db.open()
    root = connection.root()
    root['page'] = PersistentMapping()
    tids = []
    for i in range(5):
        root['page']['text'] = 'revision %d' % i
        transaction.get().setUser('user %d' % i)
        transaction.get().note('ünïcode %d' % i)
        transaction.commit()
        tids.append(root['page']._p_serial)
    oid = root['page']._p_oid
    entries = db.history(oid, 100)
    assert [e['tid'] for e in entries] == tids[::-1], entries
    assert [e['description'] for e in entries] == ['ünïcode %d' % i for i in range(4, -1, -1)]
    assert [e['user_name'] for e in entries] == ['/ user %d' % i for i in range(4, -1, -1)]
    sizes = [len(db.storage.loadSerial(oid, tid)) for tid in tids[::-1]]
    assert [e['size'] for e in entries] == sizes
    assert len(db.history(oid, 2)) == 2
    for i, tid in enumerate(tids):
        old = db.open(at=tid)
        assert old.root()['page']['text'] == 'revision %d' % i
        old.close()
    try:
        db.history(p64(1 << 40))
    except POSKeyError:
        pass
    else:
        raise AssertionError('history of an object that never was')
    db.close()


main({'btrees': btrees, 'btrees-reader': btrees_reader, 'resolving': resolving, 'counting': counting,
      'conflicting': conflicting, 'undo': undo, 'history': history})
