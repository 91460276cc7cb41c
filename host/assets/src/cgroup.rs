//! Control groups, of the first and second version: which files bound this process. Knows the layout,
//! not what the numbers mean.

use crate::system::{System, SystemFileError};

/// Deepest nesting of groups that is followed; the kernel's managers stay far below.
const LEVELS_MAX: usize = 64;
/// Hierarchies that are looked at: the second version and one of each controller in the first.
const HIERARCHIES_MAX: usize = 64;

/// Which version's files a group has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Version {
    One,
    Two,
}

/// One group that this process is in, directly or through another.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Level {
    pub(crate) version: Version,
    folder: String,
}

impl Level {
    /// The path of one of its files, below the root of the system.
    pub(crate) fn path(&self, file: &str) -> String {
        format!("{}/{file}", self.folder)
    }
}

/// Every group of `controller` that bounds this process, the nearest first. In a container the path
/// that the kernel says may not exist where its groups are mounted, so groups need not exist.
pub(crate) fn levels(system: &System, controller: &str) -> Result<Vec<Level>, SystemFileError> {
    let Some(file) = system.file("proc/self/cgroup")? else {
        return Ok(Vec::new());
    };
    let mut levels = Vec::new();
    let expected = "lines of ID:CONTROLLERS:/PATH, at most 64, paths at most 64 deep";
    for (at, line) in file.text.lines().enumerate() {
        let mut parts = line.splitn(3, ':');
        let (Some(id), Some(controllers), Some(path)) = (parts.next(), parts.next(), parts.next())
        else {
            return Err(file.malformed(expected));
        };
        if at >= HIERARCHIES_MAX || id.parse::<u32>().is_err() || !path.starts_with('/') {
            return Err(file.malformed(expected));
        }
        let names: Vec<&str> = path.split('/').filter(|name| !name.is_empty()).collect();
        if names.len() > LEVELS_MAX {
            return Err(file.malformed(expected));
        }
        // Out of what this process can see: what it can see begins at the mount.
        let names = if names.contains(&"..") { vec![] } else { names };
        let two = [
            "sys/fs/cgroup".to_owned(),
            "sys/fs/cgroup/unified".to_owned(),
        ];
        let (version, mounts) = if id == "0" && controllers.is_empty() {
            (Version::Two, two.to_vec())
        } else if controllers.split(',').any(|name| name == controller) {
            let mut mounts = vec![format!("sys/fs/cgroup/{controller}")];
            if controllers != controller && !controllers.contains('/') {
                mounts.push(format!("sys/fs/cgroup/{controllers}"));
            }
            (Version::One, mounts)
        } else {
            continue;
        };
        for mount in mounts {
            for depth in (0..=names.len()).rev() {
                let inner = names.get(..depth).unwrap_or_default();
                let mut folder = mount.clone();
                for name in inner {
                    folder = format!("{folder}/{name}");
                }
                levels.push(Level { version, folder });
            }
        }
    }
    Ok(levels)
}
