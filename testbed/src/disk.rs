//! Disks that are small, for what happens when one is full, and disks that fail.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::preload;

/// A filesystem in memory. Gone when dropped.
#[derive(Debug)]
pub struct SmallDisk {
    folder: PathBuf,
}

impl SmallDisk {
    /// A disk of so many bytes at this folder, which is made.
    ///
    /// # Errors
    /// The machine does not allow to mount one; the error says so.
    pub fn mount(folder: &Path, bytes: u64) -> Result<Self> {
        std::fs::create_dir_all(folder)?;
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &format!("size={bytes}"), "standby-testbed"]).arg(folder);
        let output = mount.output().context("mount does not start")?;
        ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr).trim());
        Ok(Self { folder: folder.to_owned() })
    }

    /// Where it is.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Takes all that is left of it but so many bytes, in a file that it returns: with it removed there is room again.
    pub fn fill(&self, leave: u64) -> Result<PathBuf> {
        let path = self.folder.join("filling");
        let file = std::fs::File::create(&path)?;
        loop {
            let filesystem = rustix::fs::statvfs(&self.folder)?;
            let free = filesystem.f_bavail * filesystem.f_frsize;
            let taken = free.checked_sub(leave).context("less is left already")?;
            match rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), 0, taken) {
                Err(rustix::io::Errno::NOSPC) => {} // somebody else has taken some meanwhile
                other => return other.map(|()| path).map_err(Into::into),
            }
        }
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: whoever still has a file open there may go on until it ends.
        let _ = Command::new("umount").arg("-l").arg(&self.folder).output();
    }
}

/// A disk on which, while it is broken, no `.fs` file can be synced ([`preload`]).
#[derive(Clone, Debug)]
pub struct FailingDisk {
    library: PathBuf,
    mark: PathBuf,
}

impl FailingDisk {
    /// A disk that is well, with its files in this folder. Each needs a name of its own.
    ///
    /// # Errors
    /// There is no C compiler; the error says so.
    pub fn new(folder: &Path, name: &str) -> Result<Self> {
        let library = preload::library(folder, "unsynced", include_str!("preload/unsynced.c"))?;
        Ok(Self { library, mark: folder.join(format!("disk-of-{name}-is-broken")) })
    }

    /// From now on syncs fail.
    pub fn break_it(&self) -> Result<()> {
        Ok(std::fs::write(&self.mark, "")?)
    }

    /// They do not any more.
    pub fn mend(&self) -> Result<()> {
        std::fs::remove_file(&self.mark).context("the disk is not broken")
    }

    /// What is to be preloaded into a process that has this disk.
    pub fn library(&self) -> &Path {
        &self.library
    }

    /// And what is in its environment.
    pub fn variable(&self) -> (&'static str, OsString) {
        ("STANDBY_TESTBED_DISK", self.mark.clone().into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_cannot_sync_its_data_while_its_disk_is_broken() -> Result<()> {
        let folder = tempfile::tempdir()?;
        let disk = FailingDisk::new(folder.path(), "a")?;
        let syncs = |name: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, "")?;
            let mut sync = Command::new("sync");
            sync.arg("--data").arg(path).envs([preload::variable([disk.library()]), disk.variable()]);
            Ok::<_, anyhow::Error>(sync.output()?.status.success())
        };
        ensure!(syncs("Data.fs")?);
        disk.break_it()?;
        ensure!(!syncs("Data.fs")? && syncs("Data.fs.control.redb")?);
        disk.mend()?;
        ensure!(syncs("Data.fs")? && disk.mend().is_err());
        Ok(())
    }
}
