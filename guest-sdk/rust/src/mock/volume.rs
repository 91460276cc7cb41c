//! Volumes of one thread: every lease is granted at once, and lasts until its volume is dropped without
//! having been kept, or the test ends it. There is one member, which never goes away.

use std::collections::BTreeMap;
use std::time::Duration;

use super::with;
use crate::volume::{Error, Layout, Repaired, Rights, Usage};

/// How long every lease says that it lasts.
const LEFT: Duration = Duration::from_secs(3600);
/// Most bytes of one read or write, as on a node.
const SPAN_BYTES_MAX: usize = 1 << 20;
/// Names of one page.
const PAGE_NAMES: usize = 64;

/// The volumes and capabilities of a thread's host.
#[derive(Default)]
pub(super) struct Volumes {
    volumes: Vec<Option<Content>>,
    grants: Vec<Grant>,
}

#[derive(Default)]
struct Content {
    bytes: u64,
    members: u32,
    blocks: Vec<u8>,
    files: BTreeMap<String, Vec<u8>>,
    /// The handle that writes.
    writer: Option<u64>,
    handles: u64,
    kept: bool,
}

/// What one handle, or one capability, allows.
#[derive(Debug, Clone)]
struct Grant {
    volume: usize,
    rights: Rights,
    /// Those that it was made of; each may be revoked.
    made_of: Vec<usize>,
    revoked: bool,
}

/// Ends all leases, as if their time was over.
pub(super) fn end_leases(volumes: &mut Volumes) {
    volumes.volumes.iter_mut().for_each(|volume| *volume = None);
}

#[derive(Debug)]
pub(crate) struct Volume {
    /// Index of what it was opened by.
    grant: usize,
    /// Which of the volume's handles it is.
    handle: u64,
    /// Whether its drop ends the leases.
    owns: bool,
}

impl Drop for Volume {
    fn drop(&mut self) {
        if self.owns {
            with(|state| {
                let volumes = &mut state.volumes;
                let volume = volumes.grants.get(self.grant).map(|grant| grant.volume);
                let place = volume.and_then(|at| volumes.volumes.get_mut(at));
                if let Some(place) = place.filter(|place| !is_kept(place)) {
                    *place = None;
                }
            });
        }
    }
}

fn is_kept(place: &Option<Content>) -> bool {
    place.as_ref().is_some_and(|volume| volume.kept)
}

pub(crate) fn allocate(bytes: u64, term: Duration, layout: Layout) -> Result<Volume, Error> {
    if bytes == 0 {
        return Err(Error::Invalid("a volume of nothing is none".to_owned()));
    }
    check_term(term)?;
    let members = match layout {
        Layout::Single => 1,
        Layout::Replicated(members @ 2..=7) => u32::from(members),
        Layout::Replicated(members) => {
            let text = format!("a replicated volume has 2 to 7 members, not {members}");
            return Err(Error::Invalid(text));
        }
        Layout::Sharded => 14,
    };
    with(|state| {
        let volumes = &mut state.volumes;
        volumes.volumes.push(Some(Content {
            bytes,
            members,
            ..Content::default()
        }));
        let volume = volumes.volumes.len() - 1;
        let rights = Rights {
            read: true,
            write: true,
        };
        volumes.grants.push(Grant {
            volume,
            rights,
            made_of: Vec::new(),
            revoked: false,
        });
        Ok(Volume {
            grant: volumes.grants.len() - 1,
            handle: 0,
            owns: true,
        })
    })
}

fn check_term(term: Duration) -> Result<(), Error> {
    if term >= Duration::from_secs(10) {
        return Ok(());
    }
    let text = format!("a lease lasts 10 s or more, not {term:?}");
    Err(Error::Invalid(text))
}

/// The number of a capability.
fn number(capability: &str) -> Result<usize, Error> {
    let number = capability.strip_prefix("volume capability ");
    let number = number.and_then(|number| number.parse().ok());
    number.ok_or_else(|| Error::Invalid("this is no capability".to_owned()))
}

pub(crate) fn open(capability: &str) -> Result<Volume, Error> {
    let mut opened = Volume {
        grant: number(capability)?,
        handle: 0,
        owns: false,
    };
    opened.handle = opened.with_volume(|_, volume| {
        volume.handles += 1;
        Ok(volume.handles)
    })?;
    Ok(opened)
}

fn check_name(name: &str) -> Result<(), Error> {
    let fits = |part: &str| (1..=255).contains(&part.len()) && part != "." && part != "..";
    if name.len() <= 1_024 && name.split('/').all(fits) {
        return Ok(());
    }
    Err(Error::Invalid(format!(
        "`{name}` is not the name of a file"
    )))
}

fn check_span(bytes: usize) -> Result<(), Error> {
    if bytes <= SPAN_BYTES_MAX {
        return Ok(());
    }
    let text = format!("{bytes} bytes at once are more than {SPAN_BYTES_MAX}");
    Err(Error::Invalid(text))
}

fn missing(name: &str) -> Error {
    Error::NotFound(format!("there is no file `{name}`"))
}

/// Bytes from an offset on, as far as there are.
fn part(content: &[u8], offset: u64, bytes: u32) -> Vec<u8> {
    let from = usize::try_from(offset)
        .unwrap_or(usize::MAX)
        .min(content.len());
    let rest = content.get(from..).unwrap_or_default();
    let count = usize::try_from(bytes).unwrap_or(usize::MAX).min(rest.len());
    rest.iter().take(count).copied().collect()
}

/// Replaces bytes from an offset on, with zeros before if need be.
fn put(content: &mut Vec<u8>, offset: u64, bytes: &[u8]) {
    let from = usize::try_from(offset).unwrap_or(usize::MAX);
    let end = from.saturating_add(bytes.len());
    if content.len() < end {
        content.resize(end, 0);
    }
    if let Some(place) = content.get_mut(from..end) {
        place.copy_from_slice(bytes);
    }
}

impl Content {
    fn used_bytes(&self) -> u64 {
        let files: usize = self.files.values().map(Vec::len).sum();
        (self.blocks.len() + files) as u64
    }

    /// Refuses what would take more than there is.
    fn check_room(&self, end: u64, now: usize) -> Result<(), Error> {
        let more = end.saturating_sub(now as u64);
        if self.used_bytes().saturating_add(more) <= self.bytes {
            return Ok(());
        }
        let text = format!(
            "{more} bytes more would exceed the {} of the volume",
            self.bytes
        );
        Err(Error::Full(text))
    }
}

impl Volume {
    /// Acts on the volume, if it is there and the capability is good.
    fn with_volume<T>(
        &self,
        act: impl FnOnce(&Grant, &mut Content) -> Result<T, Error>,
    ) -> Result<T, Error> {
        with(|state| {
            let volumes = &mut state.volumes;
            let unknown = || Error::Invalid("this is no capability".to_owned());
            let grant = volumes.grants.get(self.grant).ok_or_else(unknown)?;
            let is_revoked = |at: &usize| volumes.grants.get(*at).is_some_and(|one| one.revoked);
            if grant.revoked || grant.made_of.iter().any(is_revoked) {
                return Err(Error::Denied("the capability was revoked".to_owned()));
            }
            let volume = volumes.volumes.get_mut(grant.volume);
            let volume = volume.and_then(Option::as_mut).ok_or(Error::Ended)?;
            act(grant, volume)
        })
    }

    fn look<T>(&self, act: impl FnOnce(&Content) -> Result<T, Error>) -> Result<T, Error> {
        self.with_volume(|grant, volume| {
            if !grant.rights.read {
                let text = "the capability gives no right to read";
                return Err(Error::Denied(text.to_owned()));
            }
            act(volume)
        })
    }

    fn change<T>(&self, act: impl FnOnce(&mut Content) -> Result<T, Error>) -> Result<T, Error> {
        self.with_volume(|grant, volume| {
            if !grant.rights.write {
                let text = "the capability gives no right to write";
                return Err(Error::Denied(text.to_owned()));
            }
            match volume.writer {
                // Whoever began later writes.
                Some(writer) if writer > self.handle => {
                    return Err(Error::Fenced("another handle writes now".to_owned()));
                }
                _ => volume.writer = Some(self.handle),
            }
            act(volume)
        })
    }

    pub(crate) fn read(&self, offset: u64, bytes: u32) -> Result<Vec<u8>, Error> {
        let count = usize::try_from(bytes).unwrap_or(usize::MAX);
        check_span(count)?;
        self.look(|volume| {
            let mut read = part(&volume.blocks, offset, bytes);
            read.resize(count, 0);
            Ok(read)
        })
    }

    pub(crate) fn write(&self, offset: u64, bytes: &[u8]) -> Result<(), Error> {
        check_span(bytes.len())?;
        self.change(|volume| {
            let end = offset.saturating_add(bytes.len() as u64);
            volume.check_room(end, volume.blocks.len())?;
            put(&mut volume.blocks, offset, bytes);
            Ok(())
        })
    }

    pub(crate) fn sync(&self) -> Result<(), Error> {
        self.with_volume(|_, _| Ok(()))
    }

    pub(crate) fn create_file(&self, name: &str) -> Result<(), Error> {
        check_name(name)?;
        self.change(|volume| {
            if volume.files.contains_key(name) {
                return Err(Error::Exists(format!("there is a file `{name}`")));
            }
            volume.files.insert(name.to_owned(), Vec::new());
            Ok(())
        })
    }

    pub(crate) fn read_file(&self, name: &str, offset: u64, bytes: u32) -> Result<Vec<u8>, Error> {
        check_span(usize::try_from(bytes).unwrap_or(usize::MAX))?;
        self.look(|volume| {
            let file = volume.files.get(name).ok_or_else(|| missing(name))?;
            Ok(part(file, offset, bytes))
        })
    }

    pub(crate) fn write_file(&self, name: &str, offset: u64, bytes: &[u8]) -> Result<(), Error> {
        check_span(bytes.len())?;
        self.change(|volume| {
            let now = volume.files.get(name).ok_or_else(|| missing(name))?.len();
            volume.check_room(offset.saturating_add(bytes.len() as u64), now)?;
            if let Some(file) = volume.files.get_mut(name) {
                put(file, offset, bytes);
            }
            Ok(())
        })
    }

    pub(crate) fn file_size(&self, name: &str) -> Result<u64, Error> {
        self.look(|volume| {
            let file = volume.files.get(name).ok_or_else(|| missing(name))?;
            Ok(file.len() as u64)
        })
    }

    pub(crate) fn set_file_size(&self, name: &str, bytes: u64) -> Result<(), Error> {
        self.change(|volume| {
            let now = volume.files.get(name).ok_or_else(|| missing(name))?.len();
            volume.check_room(bytes, now)?;
            if let Some(file) = volume.files.get_mut(name) {
                file.resize(usize::try_from(bytes).unwrap_or(usize::MAX), 0);
            }
            Ok(())
        })
    }

    pub(crate) fn list_files(&self, after: Option<&str>) -> Result<(Vec<String>, bool), Error> {
        self.look(|volume| {
            let names = volume.files.keys();
            let mut names = names.filter(|name| after.is_none_or(|after| name.as_str() > after));
            let page = names.by_ref().take(PAGE_NAMES).cloned().collect();
            Ok((page, names.next().is_some()))
        })
    }

    pub(crate) fn rename_file(&self, name: &str, to: &str) -> Result<(), Error> {
        check_name(to)?;
        self.change(|volume| {
            if volume.files.contains_key(to) {
                return Err(Error::Exists(format!("there is a file `{to}`")));
            }
            let file = volume.files.remove(name).ok_or_else(|| missing(name))?;
            volume.files.insert(to.to_owned(), file);
            Ok(())
        })
    }

    pub(crate) fn remove_file(&self, name: &str) -> Result<(), Error> {
        self.change(|volume| {
            let removed = volume.files.remove(name);
            removed.map(|_| ()).ok_or_else(|| missing(name))
        })
    }

    pub(crate) fn usage(&self) -> Result<Usage, Error> {
        self.with_volume(|_, volume| {
            Ok(Usage {
                bytes: volume.bytes,
                used_bytes: volume.used_bytes(),
                leased_bytes: volume.bytes.saturating_mul(u64::from(volume.members)),
                members: volume.members,
                reached: volume.members,
                left: LEFT,
            })
        })
    }

    pub(crate) fn renew(&self, term: Duration) -> Result<(), Error> {
        check_term(term)?;
        self.owned("renews them")?;
        self.with_volume(|_, _| Ok(()))
    }

    pub(crate) fn share(
        &self,
        rights: Rights,
        _: Duration,
        _: Option<&str>,
    ) -> Result<String, Error> {
        let own = self.with_volume(|grant, _| Ok(grant.clone()))?;
        if (rights.read && !own.rights.read) || (rights.write && !own.rights.write) {
            let text = "a capability cannot give more than it has";
            return Err(Error::Denied(text.to_owned()));
        }
        Ok(self.granted(&own, rights))
    }

    fn granted(&self, own: &Grant, rights: Rights) -> String {
        with(|state| {
            let mut made_of = own.made_of.clone();
            made_of.push(self.grant);
            state.volumes.grants.push(Grant {
                volume: own.volume,
                rights,
                made_of,
                revoked: false,
            });
            format!("volume capability {}", state.volumes.grants.len() - 1)
        })
    }

    pub(crate) fn revoke(&self, capability: &str) -> Result<(), Error> {
        let number = number(capability)?;
        self.owned("revokes capabilities")?;
        with(|state| {
            let grant = state.volumes.grants.get_mut(number);
            let grant = grant.filter(|grant| grant.made_of.contains(&self.grant));
            let other = || Error::Invalid("the capability is of another volume".to_owned());
            grant.map(|grant| grant.revoked = true).ok_or_else(other)
        })
    }

    pub(crate) fn keep(&self) -> Result<String, Error> {
        self.owned("keeps them")?;
        let own = self.with_volume(|grant, volume| {
            volume.kept = true;
            Ok(grant.clone())
        })?;
        Ok(self.granted(&own, own.rights))
    }

    pub(crate) fn repair(&self) -> Result<Repaired, Error> {
        self.change(|_| Ok(Repaired::default()))
    }

    fn owned(&self, what: &str) -> Result<(), Error> {
        if self.owns {
            return Ok(());
        }
        Err(Error::Denied(format!(
            "only the holder of the leases {what}"
        )))
    }
}
