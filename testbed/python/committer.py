"""A stock client that commits again and again, whatever happens to the server, and writes down what it was promised."""
import sys
import threading

import transaction
from persistent.mapping import PersistentMapping
from ZEO.Exceptions import ClientDisconnected
from ZODB.POSException import POSError
from ZODB.POSException import StorageError

from common import database
from common import say

OBJECTS = 10


def run(address, ledger, name):
    db = database(address, wait_timeout=30)
    manager = transaction.TransactionManager()
    connection = db.open(manager)
    stop = threading.Event()
    threading.Thread(target=lambda: (sys.stdin.readline(), stop.set()), daemon=True).start()
    mappings = None
    number = 0
    said = False
    with open(ledger, 'a') as out:
        while not stop.is_set():
            number += 1
            try:
                manager.begin()
                if mappings is None:
                    made = [PersistentMapping(number=0) for _ in range(OBJECTS)]
                    for mapping in made:
                        connection.add(mapping)
                    connection.root()[name] = made
                else:
                    for mapping in mappings:
                        mapping['number'] = number
                        mapping['padding'] = name * 50
                manager.get().setUser('stock')
                manager.get().note('%s %d' % (name, number))
                manager.commit()
            except (ClientDisconnected, POSError, StorageError, KeyError):
                manager.abort()     # whether it was committed is open
                stop.wait(.02)
                continue
            if mappings is None:
                mappings = made
            else:
                assert len({mapping._p_serial for mapping in mappings}) == 1
                out.write('%s %s %d\n' % (mappings[0]._p_serial.hex(), name, number))
                out.flush()
            if not said:
                said = True
                say('committing')
    db.close()
    say('done')


run(*sys.argv[1:])
