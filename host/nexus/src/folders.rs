//! Where a user's programs keep things (XDG base directories), and how a file is replaced whole.

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use crate::exit::{Exit, Failure, Outcome};

/// `folder` where data is kept.
pub(crate) fn data(folder: &str) -> Outcome<PathBuf> {
    let advice = "name the data directory with --data";
    below("XDG_DATA_HOME", ".local/share", folder, advice)
}

/// Our folder where configuration is kept.
pub(crate) fn config() -> Outcome<PathBuf> {
    below(
        "XDG_CONFIG_HOME",
        ".config",
        "hypermesh",
        "contexts have no place",
    )
}

/// Our folder where what was seen is kept.
pub(crate) fn state() -> Outcome<PathBuf> {
    below(
        "XDG_STATE_HOME",
        ".local/state",
        "hypermesh",
        "an audit cannot be remembered",
    )
}

fn below(variable: &str, default: &str, folder: &str, advice: &str) -> Outcome<PathBuf> {
    let absolute = |name: &str| {
        std::env::var_os(name)
            .map(PathBuf::from)
            .filter(|path| path.is_absolute())
    };
    let base = absolute(variable).or_else(|| Some(absolute("HOME")?.join(default)));
    base.map(|base| base.join(folder)).ok_or_else(|| {
        let message = format!("neither {variable} nor HOME is set: {advice}");
        Failure::new(Exit::Usage, message)
    })
}

/// Replaces a file, whole or not at all, and makes its folder if need be.
///
/// # Errors
/// [`Failure`] if it cannot be written.
pub(crate) fn replace(path: &Path, content: &[u8]) -> Outcome {
    let folder = path.parent().unwrap_or(path);
    fs::create_dir_all(folder).map_err(|error| failed("create", folder, &error))?;
    let unfinished = path.with_extension("new");
    let written = fs::File::create(&unfinished).and_then(|mut file| {
        file.write_all(content)?;
        file.sync_all()
    });
    written.map_err(|error| failed("write", &unfinished, &error))?;
    fs::rename(&unfinished, path).map_err(|error| failed("replace", path, &error))
}

/// What a file that cannot be used means for a command.
pub(crate) fn failed(action: &str, path: &Path, error: &io::Error) -> Failure {
    let message = format!("cannot {action} {}: {error}", path.display());
    Failure::new(Exit::Failed, message)
}
