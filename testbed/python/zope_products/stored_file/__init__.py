"""A Zope product of the tests: a file whose content is a ZODB blob.

Zope's own OFS.File cuts an upload into Pdata objects of 64 KiB each, which are ordinary records, so that no blob
would ever reach the storage. This keeps an upload as Plone keeps it: in one blob, streamed both ways.
"""
import shutil

from AccessControl.class_init import InitializeClass
from AccessControl.SecurityInfo import ClassSecurityInfo
from OFS.SimpleItem import SimpleItem
from ZODB.blob import Blob
from ZPublisher import zpublish
from ZPublisher.Iterators import filestream_iterator

ADD = 'Add Stored Files'
CHANGE = 'Change Stored Files'


class StoredFile(SimpleItem):
    """A file in a blob."""

    meta_type = 'Stored File'
    security = ClassSecurityInfo()
    manage_options = ({'label': 'Download', 'action': 'index_html'},) + SimpleItem.manage_options

    def __init__(self, id):
        self._setId(id)
        self._blob = Blob()

    def _fill(self, upload):
        with self._blob.open('w') as file:
            shutil.copyfileobj(upload, file)

    @security.protected(CHANGE)
    @zpublish
    def manage_upload(self, file, REQUEST=None):
        """Replace the content."""
        self._fill(file)
        return 'replaced'

    @security.protected('View')
    @zpublish
    def index_html(self, REQUEST, RESPONSE):
        """The content."""
        stream = filestream_iterator(self._blob.committed(), 'rb')
        RESPONSE.setHeader('Content-Type', 'application/octet-stream')
        RESPONSE.setHeader('Content-Length', str(len(stream)))
        return stream


InitializeClass(StoredFile)


@zpublish
def manage_addStoredFile(self, id, file, REQUEST=None):
    """Make a file of what is uploaded."""
    stored = StoredFile(id)
    stored._fill(file)
    self._setObject(id, stored)
    return 'added'


def initialize(context):
    context.registerClass(StoredFile, permission=ADD, constructors=(manage_addStoredFile,))
