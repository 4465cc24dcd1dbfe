//! A small disk of its own, for what happens when it is full.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

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
