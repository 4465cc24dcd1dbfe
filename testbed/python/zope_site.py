"""A Zope site, driven over HTTP as its users and its manager drive it. Each scenario is one chapter; `tests/zope.rs`
tells the story. What they put there is told from the names, so that every chapter knows what the others left."""
import base64
import hashlib
import html
import http.client
import os
import random
import re
import sys
import time
import urllib.parse
import uuid

from common import main
from common import say

USER, PASSWORD = 'manager', 'secret'
FOLDER = '/folder'
PAGE = FOLDER + '/page'
PDATA_FILE = FOLDER + '/file'
BLOB_FILE = FOLDER + '/blob'
# The control panel's page for the database: packs, and, since Zope 5, undoes.
DATABASE = '/Control_Panel/Database/main'
# The size that issue and documents promise for a blob, and one for a file that Zope cuts into many objects.
BLOB_BYTES = 50_000_000
FILE_BYTES = 3_000_000
# What a request may take, and how long Zope may need until it works again after its server was away.
PATIENCE = 60

ZOPE_CONF = """\
%define INSTANCE {folder}
instancehome $INSTANCE
<zodb_db main>
  mount-point /
  <zeoclient>
    server {server}
    storage 1
    name zeostorage
    client zope
    var $INSTANCE/var
    cache-size 20MB
    blob-dir $INSTANCE/var/blobs
  </zeoclient>
</zodb_db>
"""

ZOPE_INI = """\
[app:zope]
use = egg:Zope#main
zope_conf = %(here)s/zope.conf

[server:main]
use = egg:waitress#main
host = 127.0.0.1
port = 0

[pipeline:main]
pipeline =
    egg:Zope#httpexceptions
    zope

[loggers]
keys = root

[handlers]
keys = console

[formatters]
keys = generic

[formatter_generic]
format = %(asctime)s %(levelname)s [%(name)s] %(message)s

[logger_root]
level = INFO
handlers = console

[handler_console]
class = StreamHandler
args = (sys.stderr,)
formatter = generic
"""

SITE_ZCML = """\
<configure xmlns="http://namespaces.zope.org/zope"
           xmlns:meta="http://namespaces.zope.org/meta"
           xmlns:five="http://namespaces.zope.org/five">
  <include package="Zope2.App" />
  <five:loadProducts file="meta.zcml"/>
  <five:loadProducts />
  <five:registerPackage package="stored_file" initialize="stored_file.initialize" />
</configure>
"""


def instance(folder, server):
    """The files of a Zope instance that has its data on the server."""
    os.makedirs(os.path.join(folder, 'etc'))
    os.makedirs(os.path.join(folder, 'var'))
    files = {
        'etc/zope.conf': ZOPE_CONF.format(folder=folder, server=server),
        'etc/zope.ini': ZOPE_INI,
        'etc/site.zcml': SITE_ZCML,
        'inituser': '%s:%s\n' % (USER, PASSWORD),
    }
    for name, text in files.items():
        with open(os.path.join(folder, name), 'w') as file:
            file.write(text)


class Answer:
    def __init__(self, status, headers, body):
        self.status, self.headers, self.body = status, headers, body

    @property
    def text(self):
        return self.body.decode('utf-8')


class Site:
    """The site's manager with a browser."""

    def __init__(self, address):
        self.address = address

    def ask(self, method, path, body=None, content_type=None):
        """One request, whatever comes of it."""
        host, port = self.address.rsplit(':', 1)
        connection = http.client.HTTPConnection(host, int(port), timeout=PATIENCE)
        token = base64.b64encode(('%s:%s' % (USER, PASSWORD)).encode()).decode()
        headers = {'Authorization': 'Basic ' + token}
        if content_type:
            headers['Content-Type'] = content_type
        try:
            connection.request(method, path, body, headers)
            response = connection.getresponse()
            return Answer(response.status, response.headers, response.read())
        finally:
            connection.close()

    def get(self, path):
        answer = self.ask('GET', path)
        assert answer.status == 200, (path, answer.status, answer.body[:2000])
        return answer

    def post(self, path, fields=(), file=None):
        """A form; with a file, as browsers send one."""
        if file is None:
            content_type, body = 'application/x-www-form-urlencoded', urllib.parse.urlencode(fields).encode()
        else:
            boundary = uuid.uuid4().hex
            content_type = 'multipart/form-data; boundary=' + boundary
            parts = ['--%s\r\nContent-Disposition: form-data; name="%s"\r\n\r\n%s\r\n' % (boundary, name, value)
                     for name, value in fields]
            parts.append('--%s\r\nContent-Disposition: form-data; name="file"; filename="upload.bin"\r\n'
                         'Content-Type: application/octet-stream\r\n\r\n' % boundary)
            body = ''.join(parts).encode() + file + ('\r\n--%s--\r\n' % boundary).encode()
        answer = self.ask('POST', path, body, content_type)
        # Zope's forms answer with a page or with a redirection to one.
        assert answer.status in (200, 201, 204, 302), (path, answer.status, answer.body[:2000])
        return answer

    def edit(self, text):
        self.post(PAGE + '/manage_edit', [('data', text), ('title', 'A page')])

    def undoable(self):
        """The transactions that the undo form offers, newest first."""
        found = re.findall(r'name="transaction_info:list" value="([^"]*)"', self.get(DATABASE + '/manage_UndoForm').text)
        return [html.unescape(value) for value in found]

    def undo(self, *transactions):
        answer = self.post(DATABASE + '/manage_undo_transactions', [('transaction_info:list', t) for t in transactions])
        assert answer.status == 302, 'not undone: ' + answer.text

    def eventually_edit(self, text):
        """Edits the page as soon as the site works again."""
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                return self.edit(text)
            except (AssertionError, OSError):
                if time.monotonic() > deadline:
                    raise
            time.sleep(.1)


def content(name, size):
    return random.Random(name).randbytes(size)


def same(found, expected):
    """Compares without printing 50 MB."""
    digests = [hashlib.sha256(data).hexdigest() for data in (found, expected)]
    assert digests[0] == digests[1], (len(found), len(expected), digests)


def expect(site, text, blob):
    """The whole content of the site."""
    assert site.get(PAGE).text == text, (site.get(PAGE).text, text)
    same(site.get(PDATA_FILE).body, content('file', FILE_BYTES))
    same(site.get(BLOB_FILE).body, content(blob, BLOB_BYTES))


def makes_content(address):
    """A folder, a page which is edited, a file in many objects, a file in a blob."""
    site = Site(address)
    products = '/manage_addProduct/'
    site.post(products + 'OFSP/manage_addFolder', [('id', 'folder'), ('title', 'A folder')])
    site.post(FOLDER + products + 'OFSP/addDTMLMethod', [('id', 'page'), ('title', 'A page'), ('file', 'first')])
    assert site.get(PAGE).text == 'first'
    site.edit('<dtml-var "1 + 1"> is two')
    assert site.get(PAGE).text == '2 is two'
    site.post(FOLDER + products + 'OFSP/manage_addFile', [('id', 'file'), ('title', '')],
              file=content('file', FILE_BYTES))
    site.post(FOLDER + products + 'stored_file/manage_addStoredFile', [('id', 'blob')],
              file=content('blob 1', BLOB_BYTES))
    assert 'A page' in site.get(FOLDER + '/manage_main').text
    expect(site, '2 is two', 'blob 1')


def undoes(address):
    """Two changes, a wrong page and a wrong blob, are undone in one go."""
    site = Site(address)
    before = site.undoable()
    site.edit('a mistake')
    site.post(BLOB_FILE + '/manage_upload', file=content('a mistake', BLOB_BYTES))
    expect(site, 'a mistake', 'a mistake')
    mistakes = [t for t in site.undoable() if t not in before]
    assert len(mistakes) == 2 and 'page/manage_edit' in mistakes[1] and 'blob/manage_upload' in mistakes[0], mistakes
    site.undo(*mistakes)
    expect(site, '2 is two', 'blob 1')
    # What a later transaction changed again cannot be undone alone, and the form says so.
    site.edit('changed')
    site.edit('changed again')
    changed = next(t for t in site.undoable()[1:] if 'page/manage_edit' in t)
    answer = site.post(DATABASE + '/manage_undo_transactions', [('transaction_info:list', changed)])
    assert answer.status == 200 and 'UndoError' in answer.text, answer.text
    expect(site, 'changed again', 'blob 1')


def packs(address):
    """After a new blob and a deletion, the control panel's pack leaves what is current, and nothing to undo."""
    site = Site(address)
    site.post(BLOB_FILE + '/manage_upload', file=content('blob 2', BLOB_BYTES))
    site.post('/manage_addProduct/OFSP/manage_addFolder', [('id', 'superfluous'), ('title', '')])
    site.post('/superfluous/manage_addProduct/stored_file/manage_addStoredFile', [('id', 'blob')],
              file=content('superfluous', 1_000_000))
    site.post('/manage_delObjects', [('ids:list', 'superfluous')])
    assert site.undoable()
    assert 'manage_pack' in site.get(DATABASE + '/manage_main').text
    answer = site.post(DATABASE + '/manage_pack', [('days:float', '0')])
    assert 'packed' in answer.headers['Location'], answer.headers['Location']
    assert not site.undoable(), 'a pack to now leaves nothing to undo'
    expect(site, 'changed again', 'blob 2')


def outlives(address, text):
    """The server is away, and comes back: the site works again by itself."""
    site = Site(address)
    say('changing')
    site.eventually_edit(text)
    expect(site, text, 'blob 2')


def reads_back(address, text):
    """Everything is there, and can be changed."""
    site = Site(address)
    expect(site, text, 'blob 2')
    site.edit(text + '!')
    expect(site, text + '!', 'blob 2')


def opens(path, blobs, text):
    """ZODB's own FileStorage has the site, without a server."""
    import ZODB
    from ZODB.FileStorage import FileStorage

    sys.path.append(os.path.join(os.path.dirname(__file__), 'zope_products'))
    storage = FileStorage(path, read_only=True, blob_dir=blobs)
    records = sum(1 for t in storage.iterator() for _ in t)
    assert records >= len(storage) > 0, (records, len(storage))
    db = ZODB.DB(storage)
    connection = db.open()
    folder = connection.root()['Application'].folder
    assert folder.page.raw == text, folder.page.raw
    same(bytes(folder.file.data), content('file', FILE_BYTES))
    with folder.blob._blob.open() as file:
        same(file.read(), content('blob 2', BLOB_BYTES))
    connection.close()
    db.close()


main({'instance': instance, 'makes-content': makes_content, 'undoes': undoes, 'packs': packs, 'outlives': outlives,
      'reads-back': reads_back, 'opens': opens})
