//! Debian's packages without installing any: own lists, own downloads, no root.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::failure::Failure;
use crate::process;

/// The package with a rustc newer than the distribution's own.
const RUSTC: &str = "rustc-web";
const STD_DEV: &str = "libstd-rust-web-dev";
const STD_SOURCE: &str = "rust-web-src";

/// apt with lists of its own, fetched just now: the system's may be empty or stale, and changing
/// them needs root.
pub(crate) struct Apt {
    folder: PathBuf,
    /// Some source did not answer. That matters only if the packages are not found elsewhere.
    incomplete: Option<Failure>,
}

impl Apt {
    /// Fetches the lists of the machine's package sources into `folder`.
    pub(crate) fn refresh(folder: &Path) -> Result<Self, Failure> {
        if !process::works("apt-get", &["--version"]) {
            return Err(Failure::new("this machine has no apt"));
        }
        for below in ["lists/partial", "cache/archives/partial"] {
            let path = folder.join(below);
            fs::create_dir_all(&path).map_err(|error| Failure::file("create", &path, &error))?;
        }
        let mut apt = Self {
            folder: folder.to_owned(),
            incomplete: None,
        };
        apt.incomplete = process::read(&mut apt.command("apt-get", &["update", "-qq"])).err();
        Ok(apt)
    }

    /// What apt has to compile guests with.
    pub(crate) fn offer(self) -> Result<Offer, Failure> {
        let policy = process::read(&mut self.command("apt-cache", &["policy", RUSTC]))?;
        let version = candidate(&policy)
            .ok_or_else(|| self.nothing_to_offer())?
            .to_owned();
        let std = self.dependency(STD_DEV, "libstd-rust-web-")?;
        let llvm = self.dependency(&std, "libllvm")?;
        let packages = [RUSTC, STD_DEV, &std, &llvm]
            .into_iter()
            .map(str::to_owned)
            .collect::<Vec<_>>();
        Ok(Offer {
            apt: self,
            version,
            packages,
        })
    }

    fn nothing_to_offer(&self) -> Failure {
        let Some(why) = &self.incomplete else {
            return Failure::new(format!("apt offers no {RUSTC}"));
        };
        let why = why.to_string();
        let cause = why.lines().last().unwrap_or_default();
        Failure::new(format!(
            "apt's lists, which may offer {RUSTC}, did not come: {cause}"
        ))
    }

    /// The dependency of `package` whose name starts with `prefix`: those names carry versions.
    fn dependency(&self, package: &str, prefix: &str) -> Result<String, Failure> {
        let words = ["depends", package, "--no-recommends", "--no-suggests"];
        let text = process::read(&mut self.command("apt-cache", &words))?;
        dependency(&text, prefix)
            .map(str::to_owned)
            .ok_or_else(|| Failure::new(format!("{package} depends on no {prefix}*")))
    }

    /// Options come last, so that a failure shows the words that matter.
    fn command(&self, program: &str, words: &[&str]) -> Command {
        let mut command = Command::new(program);
        command.args(words);
        for (key, below) in [("Dir::State::lists", "lists"), ("Dir::Cache", "cache")] {
            command
                .arg("-o")
                .arg(format!("{key}={}", self.folder.join(below).display()));
        }
        // Root's downloads would otherwise run as a user who cannot enter our folder.
        command
            .args(["-o", "APT::Sandbox::User=root", "-o", "Acquire::Retries=3"])
            .env("LC_ALL", "C");
        command
    }
}

/// The packages of one rustc, by name.
pub(crate) struct Offer {
    apt: Apt,
    version: String,
    packages: Vec<String>,
}

impl Offer {
    /// Downloads and unpacks the compiler and the source of its standard library to `prefix`.
    pub(crate) fn unpack(&self, prefix: &Path) -> Result<(), Failure> {
        let debs = self.apt.folder.join("debs");
        fs::create_dir_all(&debs).map_err(|error| Failure::file("create", &debs, &error))?;
        let mut apt_get = self.apt.command("apt-get", &["download", "-qq"]);
        apt_get
            .current_dir(&debs)
            .args(&self.packages)
            .arg(STD_SOURCE);
        process::read(&mut apt_get)?;
        let entries = fs::read_dir(&debs).map_err(|error| Failure::file("list", &debs, &error))?;
        for entry in entries.flatten() {
            let is_source = entry.file_name().to_string_lossy().starts_with(STD_SOURCE);
            // The rest of the source is 300 MB of compiler; documentation is of no use here.
            let selection: &[&str] = if is_source {
                &["--wildcards", "./usr/src/rustc-*/library/*"]
            } else {
                &["--exclude=./usr/share/*"]
            };
            unpack_deb(&entry.path(), prefix, selection)?;
        }
        Ok(())
    }

    /// Deletes lists and downloads, so that they are not kept with the compiler.
    pub(crate) fn forget_lists(&self) -> Result<(), Failure> {
        let folder = &self.apt.folder;
        fs::remove_dir_all(folder).map_err(|error| Failure::file("delete", folder, &error))
    }
}

impl fmt::Display for Offer {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{RUSTC} {}", self.version)
    }
}

fn unpack_deb(deb: &Path, into: &Path, selection: &[&str]) -> Result<(), Failure> {
    let mut archive = Command::new("dpkg-deb")
        .arg("--fsys-tarfile")
        .arg(deb)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|error| Failure::new(format!("cannot start dpkg-deb: {error}")))?;
    let mut tar = Command::new("tar");
    tar.arg("-x").arg("-C").arg(into).args(selection);
    if let Some(bytes) = archive.stdout.take() {
        tar.stdin(bytes);
    }
    let unpacked = tar.status();
    let read = archive.wait();
    match (unpacked, read) {
        (Ok(tar), Ok(archive)) if tar.success() && archive.success() => Ok(()),
        (tar, archive) => Err(Failure::new(format!(
            "cannot unpack {}: dpkg-deb {archive:?}, tar {tar:?}",
            deb.display()
        ))),
    }
}

/// The version that `apt-cache policy` would install.
fn candidate(policy: &str) -> Option<&str> {
    let version = policy
        .lines()
        .find_map(|line| line.trim().strip_prefix("Candidate: "))?;
    (version != "(none)").then_some(version)
}

fn dependency<'a>(depends: &'a str, prefix: &str) -> Option<&'a str> {
    depends
        .lines()
        .filter_map(|line| line.trim().strip_prefix("Depends: "))
        .find(|name| {
            name.strip_prefix(prefix)
                .is_some_and(|rest| rest.starts_with(is_digit))
        })
}

fn is_digit(character: char) -> bool {
    character.is_ascii_digit()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn candidate_is_read_from_policy() {
        let policy = "rustc-web:\n  Installed: (none)\n  Candidate: 1.96.0+dfsg1-1\n";
        assert_eq!(candidate(policy), Some("1.96.0+dfsg1-1"));
        assert_eq!(
            candidate("x:\n  Installed: (none)\n  Candidate: (none)\n"),
            None
        );
        assert_eq!(
            candidate(""),
            None,
            "apt prints nothing for a package it never heard of"
        );
    }

    #[test]
    fn dependency_follows_versioned_names() {
        let text = "libstd-rust-web-1.96\n  Depends: libc6\n  Depends: libllvm22\n  \
                    Conflicts: libllvm9\n";
        assert_eq!(dependency(text, "libllvm"), Some("libllvm22"));
        assert_eq!(dependency(text, "libstd-rust-web-"), None);
    }
}
