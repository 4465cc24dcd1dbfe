use std::io;
use std::path::Path;

use super::File;
use crate::disk::{Access, Disk, Handle, Node};

/// How a file is opened.
#[derive(Clone, Debug, Default)]
pub struct OpenOptions {
    access: Access,
    truncate: bool,
    create: bool,
    create_new: bool,
}

macro_rules! options {
    ($($(#[$doc:meta])* $name:ident => $($field:ident).+;)*) => {
        $($(#[$doc])*
        pub fn $name(&mut self, on: bool) -> &mut Self {
            self.$($field).+ = on;
            self
        })*
    };
}

impl OpenOptions {
    /// None of what follows.
    pub fn new() -> Self {
        Self::default()
    }

    options! {
        /// To be read.
        read => access.read;
        /// To be written.
        write => access.write;
        /// To be written at its end, wherever that is then.
        append => access.append;
        /// Emptied first.
        truncate => truncate;
        /// Made where it is not there.
        create => create;
        /// Made, and not there before.
        create_new => create_new;
    }

    /// Opens a file.
    ///
    /// # Errors
    /// It is not there and not to be made, or there and to be made; or the disk is off.
    pub fn open(&self, path: impl AsRef<Path>) -> io::Result<File> {
        let path = path.as_ref();
        let (disk, node) = match Disk::find(path) {
            Ok(_) if self.create_new => return Err(io::ErrorKind::AlreadyExists.into()),
            Err(error) if error.kind() == io::ErrorKind::NotFound && (self.create || self.create_new) => {
                let (disk, folder, name) = Disk::place(path)?;
                disk.change()?;
                let node = Node::File(Default::default());
                folder.insert(name, node.clone());
                (disk, node)
            }
            found => found?,
        };
        if self.access.write || self.access.append {
            let file = node.file()?;
            if self.truncate && file.length() > 0 {
                disk.change()?;
                file.set_length(0);
            }
        }
        Ok(File::new(Handle::new(disk, node, self.access)))
    }
}
