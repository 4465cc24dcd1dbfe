"""What stock clients are told of their cluster while they stay connected."""
import json
import sys

import transaction
from common import database
from common import main
from common import say


def shown(told):
    if told is None:
        return 'nothing'
    nodes = {node['name']: [node['role'], node['state'], node['zeo'], node['zeo_ro']] for node in told['nodes']}
    return json.dumps({**told, 'nodes': nodes}, sort_keys=True)


def watch(address, encoding, mode):
    """Says what it was told, each time it is asked, and that it has never reconnected."""
    db = database(address, read_only=mode == 'reader')
    storage = db.storage
    protocol = storage._server.client.protocol
    assert protocol.protocol_version[:1] == encoding.encode(), (protocol.protocol_version, encoding)
    say('connected')
    for line in sys.stdin:
        if line.strip() == 'told?':
            say('told: ' + shown(storage._info.get('standby')))
        elif line.strip() == 'commit':
            with db.transaction() as connection:
                root = connection.root()
                root['count'] = root.get('count', 0) + 1
            # Everything else that a client knows of its storage is as it was.
            assert storage._info['supportsUndo'] and storage._info['interfaces'], storage._info
            assert len(storage) > 0 and storage.getSize() > 0 and storage.getName(), storage._info
            say('committed')
        elif line.strip() == 'stop':
            break
    assert storage._server.client.protocol is protocol, 'it has reconnected'
    transaction.abort()
    db.close()


if __name__ == '__main__':
    main({'watch': watch})
