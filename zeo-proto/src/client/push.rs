use super::{Error, Invalidations, View};
use crate::Value;

/// What a server tells its clients by itself.
#[derive(Clone, Debug, PartialEq)]
pub enum Push {
    /// A transaction was committed.
    Invalidated(Invalidations),
    /// Data about the storage, as a dictionary to be merged into what `get_info` has answered.
    Info(Value<'static>),
    /// A piece of a blob, of what comes before the answer to `sendBlob`: the method's name, and its arguments.
    Blob(String, Vec<Value<'static>>),
}

impl Push {
    /// From a method and its arguments; `None` if a client knows nothing of the kind.
    ///
    /// # Errors
    /// What was invalidated is not understood: nothing that the client has can be relied on.
    pub fn of(method: &str, args: &[Value<'_>]) -> Result<Option<Self>, Error> {
        Ok(match (method, args) {
            ("invalidateTransaction", args) => {
                let told = invalidations(args).ok_or_else(|| Error::protocol("an invalidateTransaction"))?;
                Some(Self::Invalidated(told))
            }
            ("info", [info]) => Some(Self::Info(info.clone().into_owned())),
            ("receiveBlobStart" | "receiveBlobChunk" | "receiveBlobStop", args) => {
                let args = args.iter().map(|arg| arg.clone().into_owned()).collect();
                Some(Self::Blob(method.to_owned(), args))
            }
            _ => None,
        })
    }

    /// What it says of the cluster, if anything.
    pub fn view(&self) -> Option<View> {
        match self {
            Self::Info(info) => View::in_info(info),
            _ => None,
        }
    }
}

fn invalidations(args: &[Value<'_>]) -> Option<Invalidations> {
    let [tid, oids] = args else { return None };
    let oids: Option<_> = oids.as_sequence()?.iter().map(Value::as_oid).collect();
    Some(Invalidations { tid: tid.as_tid()?, oids: oids? })
}
