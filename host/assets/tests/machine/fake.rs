//! A directory that looks like the root of a machine.

use std::fs;
use std::path::Path;

use hypermesh_assets::System;
use tempfile::TempDir;

/// Files below a root of their own.
pub(crate) struct Fake(TempDir);

impl Fake {
    /// A machine with `files`, as path and text, beside a plausible `/proc/meminfo`.
    pub(crate) fn new(files: &[(&str, &str)]) -> Self {
        let fake = Self(tempfile::tempdir().unwrap());
        let meminfo = "MemTotal: 1000 kB\nMemFree: 1 kB\nMemAvailable: 800 kB\n";
        fake.write("proc/meminfo", meminfo.as_bytes());
        for (path, text) in files {
            fake.write(path, text.as_bytes());
        }
        fake
    }

    pub(crate) fn write(&self, path: &str, bytes: &[u8]) {
        let path = self.root().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }

    pub(crate) fn root(&self) -> &Path {
        self.0.path()
    }

    /// The machine, with eight processors.
    pub(crate) fn system(&self) -> System {
        System::at(self.root(), 8)
    }
}
