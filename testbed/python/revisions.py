"""Makes work for a pack, and looks at what a pack left."""
from persistent.mapping import PersistentMapping

from common import database
from common import main

# The root, and the objects that it refers to.
LIVING = 1 + 5
ROUNDS = 4


def commit(address, rounds=ROUNDS):
    """Some transactions, each of which writes every object anew, and makes one that nothing refers to later."""
    db = database(address)
    for number in range(int(rounds)):
        with db.transaction() as connection:
            root = connection.root()
            for name in range(LIVING - 1):
                root.setdefault(str(name), PersistentMapping())['number'] = number
            root['for now'] = PersistentMapping()
    with db.transaction() as connection:
        del connection.root()['for now']
    db.close()


def count(db):
    """The number of objects' revisions, and that of objects."""
    records = [record.oid for t in db.storage.iterator() for record in t]
    return len(records), len(set(records))


def all_there(address):
    """Nothing was packed away."""
    db = database(address)
    assert count(db) > (LIVING * ROUNDS, LIVING), count(db)
    db.close()


def packed(address):
    """What lives has one revision, and is whole; the rest is gone."""
    db = database(address)
    assert count(db) == (LIVING, LIVING), count(db)
    with db.transaction() as connection:
        assert {name: mapping['number'] for name, mapping in connection.root().items()} == {
            str(name): ROUNDS - 1 for name in range(LIVING - 1)}
    db.close()


main({'commit': commit, 'all-there': all_there, 'packed': packed})
