"""A client that writes when it is told to, as long as it takes: for the transcript of an operator's session."""
import sys

import transaction
from common import Counter
from common import say
from ZEO.ClientStorage import ClientStorage
from ZODB import DB
from ZODB.POSException import POSError


def commit(db, number):
    while True:
        manager = transaction.TransactionManager()
        connection = db.open(manager)
        try:
            orders = connection.root()
            if 'order' not in orders:
                orders['order'] = Counter()
            orders['order'].value += 1
            manager.get().setUser('alice')
            manager.get().note('order %d' % number)
            manager.commit()
            return
        except POSError:  # the primary is another by now, or will be
            manager.abort()
        finally:
            connection.close()


def write(*addresses):
    addresses = [(host, int(port)) for host, port in (address.rsplit(':', 1) for address in addresses)]
    db = DB(ClientStorage(addresses, wait_timeout=60))
    say('begun')
    number = 0
    for line in sys.stdin:
        word, *count = line.split()
        if word == 'stop':
            break
        for _ in range(int(count[0])):
            number += 1
            commit(db, number)
        say('committed')
    db.close()


write(*sys.argv[1:])
