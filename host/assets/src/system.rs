//! The files in which the kernel says what there is, and the processors that it lets this process
//! use. Knows no meaning of what it reads.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

/// Longest file that is read. The kernel's own are a few kilobytes; a longer one is none of them.
const FILE_BYTES_MAX: u64 = 64 << 10;

/// Where `/proc` and `/sys` are.
#[derive(Debug, Clone)]
pub struct System {
    root: PathBuf,
    cores: Option<u32>,
}

/// A file of the kernel that does not say what it is to say.
#[derive(Debug, thiserror::Error)]
pub enum SystemFileError {
    /// It is not there, and must be.
    #[error("{} is missing", .path.display())]
    Missing {
        /// The file.
        path: PathBuf,
    },
    /// It could not be read.
    #[error("cannot read {}: {source}", .path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It says something else.
    #[error("{} says {text:?}: expected {expected}", .path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// The beginning of what it says.
        text: String,
        /// What it should say.
        expected: &'static str,
    },
}

/// A file that was read.
#[derive(Debug)]
pub(crate) struct SystemFile {
    path: PathBuf,
    pub(crate) text: String,
}

impl System {
    /// This machine.
    #[must_use]
    pub fn host() -> Self {
        Self {
            root: PathBuf::from("/"),
            cores: None,
        }
    }

    /// A machine whose `proc` and `sys` are in `root` and that lets this process use `cores`.
    #[must_use]
    pub fn at(root: &Path, cores: u32) -> Self {
        Self {
            root: root.to_owned(),
            cores: Some(cores),
        }
    }

    /// How many processors this thread may run on.
    pub(crate) fn cores(&self) -> io::Result<u32> {
        match self.cores {
            Some(cores) => Ok(cores),
            None => Ok(rustix::thread::sched_getaffinity(None)?.count()),
        }
    }

    /// What the file at `path`, below the root, says; `None` if there is no such file.
    pub(crate) fn file(&self, path: &str) -> Result<Option<SystemFile>, SystemFileError> {
        let path = self.root.join(path);
        let mut bytes = Vec::new();
        let read = File::open(&path).and_then(|file| {
            // One byte more, to notice what is too long.
            file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes)
        });
        match read {
            Ok(_) => {}
            Err(error) if is_absence(&error) => return Ok(None),
            Err(source) => return Err(SystemFileError::Unreadable { path, source }),
        }
        let too_long = bytes.len() as u64 > FILE_BYTES_MAX;
        match String::from_utf8(bytes) {
            Ok(text) if !too_long => Ok(Some(SystemFile { path, text })),
            Ok(text) => Err(SystemFile { path, text }.malformed("at most 64 KiB")),
            Err(error) => {
                let text = String::from_utf8_lossy(error.as_bytes()).into_owned();
                Err(SystemFile { path, text }.malformed("text"))
            }
        }
    }

    /// What the file at `path` says, which must be there.
    pub(crate) fn required(&self, path: &str) -> Result<SystemFile, SystemFileError> {
        self.file(path)?.ok_or_else(|| SystemFileError::Missing {
            path: self.root.join(path),
        })
    }
}

/// Whether there is no such file. A control group that ends while it is read says `ENODEV`.
fn is_absence(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
    ) || error.raw_os_error() == Some(rustix::io::Errno::NODEV.raw_os_error())
}

impl SystemFile {
    /// The refusal of this file, which should say what is `expected`.
    pub(crate) fn malformed(&self, expected: &'static str) -> SystemFileError {
        SystemFileError::Malformed {
            path: self.path.clone(),
            text: self.text.chars().take(80).collect(),
            expected,
        }
    }

    /// The one number that it says.
    pub(crate) fn number(&self) -> Result<u64, SystemFileError> {
        let number = self.text.trim().parse();
        number.map_err(|_| self.malformed("a whole number"))
    }
}
