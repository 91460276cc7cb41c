//! The file of a store, as a disk: bytes at places, durable once they were flushed. Knows nothing of
//! what they are.

use std::fmt;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

/// Where a store keeps its bytes. What was not flushed may be lost, any part of it.
pub(crate) trait Disk: fmt::Debug + Send {
    /// How far it was written.
    fn bytes(&self) -> io::Result<u64>;
    /// Reads into all of `into`; beyond the end are zeros.
    fn read(&self, at: u64, into: &mut [u8]) -> io::Result<()>;
    /// Writes all of `bytes`.
    fn write(&mut self, at: u64, bytes: &[u8]) -> io::Result<()>;
    /// Makes durable what was written.
    fn flush(&mut self) -> io::Result<()>;
}

impl Disk for File {
    fn bytes(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }

    fn read(&self, mut at: u64, mut into: &mut [u8]) -> io::Result<()> {
        while !into.is_empty() {
            let count = match self.read_at(into, at) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                other => other?,
            };
            if count == 0 {
                into.fill(0);
                return Ok(());
            }
            at = at.saturating_add(count as u64);
            into = into.get_mut(count..).unwrap_or_default();
        }
        Ok(())
    }

    fn write(&mut self, at: u64, bytes: &[u8]) -> io::Result<()> {
        self.write_all_at(bytes, at)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.sync_data()
    }
}

/// Name of the file in its folder.
const FILE: &str = "pieces";
/// Its name until it is whole.
const UNFINISHED: &str = "pieces.new";

/// Opens the file in `folder`. Where there is none, one that begins with `first` is made, wholly or
/// not at all; none stands for looking only.
pub(super) fn open_file(folder: &Path, first: Option<&[u8]>) -> io::Result<File> {
    let path = folder.join(FILE);
    let mut options = File::options();
    options.read(true).write(true);
    match (options.open(&path), first) {
        (Err(error), Some(first)) if error.kind() == io::ErrorKind::NotFound => {
            std::fs::create_dir_all(folder)?;
            let unfinished = folder.join(UNFINISHED);
            let file = File::create(&unfinished)?;
            file.write_all_at(first, 0)?;
            file.sync_all()?;
            std::fs::rename(&unfinished, &path)?;
            File::open(folder)?.sync_all()?;
            if let Some(above) = folder.parent() {
                File::open(above)?.sync_all()?;
            }
            options.open(&path)
        }
        (opened, _) => opened,
    }
}
