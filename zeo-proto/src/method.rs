/// A method that a client may call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Method {
    /// Its name on the wire.
    pub name: &'static str,
    /// The class that has it in the stock server. Error texts name it.
    pub class: &'static str,
    /// Its parameters, in order.
    pub parameters: &'static [Parameter],
}

/// A parameter of a [`Method`], under the name that the stock server's error texts use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parameter {
    /// Its name.
    pub name: &'static str,
    /// Whether the caller must give it. Those that may be left out come last.
    pub required: bool,
}

const fn needs(name: &'static str) -> Parameter {
    Parameter { name, required: true }
}

const fn may(name: &'static str) -> Parameter {
    Parameter { name, required: false }
}

macro_rules! methods {
    ($($class:ident.$name:ident($($kind:ident $parameter:ident),*);)*) => {
        &[$(Method {
            name: stringify!($name),
            class: stringify!($class),
            parameters: &[$($kind(stringify!($parameter))),*],
        }),*]
    };
}

/// Every method of a ZEO 5 server (`ZEO/StorageServer.py`: `registered_methods`, and `register`). Those that the
/// stock server hands on to its storage are listed with that storage's class.
pub static METHODS: &[Method] = methods! {
    ZEOStorage.loadBefore(needs oid, needs tid);
    ZEOStorage.storea(needs oid, needs serial, needs data, needs id);
    ZEOStorage.checkCurrentSerialInTransaction(needs oid, needs serial, needs id);
    ZEOStorage.tpc_begin(needs id, needs user, needs description, needs ext, may tid, may status);
    ZEOStorage.vote(needs tid);
    ZEOStorage.tpc_finish(needs id);
    ZEOStorage.tpc_abort(needs tid);
    ZEOStorage.new_oids(may n);
    ZEOStorage.ping();
    ZEOStorage.register(needs storage_id, needs read_only);
    ZEOStorage.get_info();
    BaseStorage.lastTransaction();
    ZEOStorage.getInvalidations(needs tid);
    FileStorage.loadSerial(needs oid, needs serial);
    FileStorage.getTid(needs oid);
    ZEOStorage.history(needs tid, may size);
    FileStorage.record_iternext(may next);
    ZEOStorage.storeBlobStart();
    ZEOStorage.storeBlobChunk(needs chunk);
    ZEOStorage.storeBlobEnd(needs oid, needs serial, needs data, needs id);
    ZEOStorage.storeBlobShared(needs oid, needs serial, needs data, needs filename, needs id);
    ZEOStorage.sendBlob(needs oid, needs serial);
    ZEOStorage.undoa(needs trans_id, needs tid);
    ZEOStorage.undoLog(needs first, needs last);
    ZEOStorage.undoInfo(needs first, needs last, needs spec);
    ZEOStorage.pack(needs time, may wait);
    ZEOStorage.deleteObject(needs oid, needs serial, needs id);
    ZEOStorage.restorea(needs oid, needs serial, needs data, needs prev_txn, needs id);
    ZEOStorage.iterator_start(needs start, needs stop);
    ZEOStorage.iterator_next(needs iid);
    ZEOStorage.iterator_record_start(needs txn_iid, needs tid);
    ZEOStorage.iterator_record_next(needs iid);
    ZEOStorage.iterator_gc(needs iids);
    ZEOStorage.server_status();
    ZEOStorage.set_client_label(needs label);
    BaseStorage.new_oid();
};

impl Method {
    /// The method of this name.
    pub fn named(name: &str) -> Option<&'static Self> {
        METHODS.iter().find(|method| method.name == name)
    }

    /// How many arguments it must be given at least.
    pub fn required(&self) -> usize {
        self.parameters.iter().filter(|parameter| parameter.required).count()
    }
}
