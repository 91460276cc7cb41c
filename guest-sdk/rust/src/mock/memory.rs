//! Leased memory of one thread: every lease is granted at once, and lasts until its region is dropped
//! or the test ends it.

use std::time::Duration;

use super::with;
use crate::memory::{Error, Rights, Share, Swapped, Usage};

/// How long every lease says that it lasts.
const LEFT: Duration = Duration::from_secs(3600);

/// The regions and capabilities of a thread's host.
#[derive(Default)]
pub(super) struct Memory {
    regions: Vec<Option<Vec<u8>>>,
    grants: Vec<Grant>,
    operations: u64,
}

/// What one handle, or one capability, allows.
#[derive(Debug, Clone)]
struct Grant {
    region: usize,
    rights: Rights,
    from: u64,
    until: u64,
    /// Those that it was made of; each may be revoked.
    made_of: Vec<usize>,
    revoked: bool,
}

/// Ends all leases, as if their time was over.
pub fn end_leases() {
    with(|state| {
        state
            .memory
            .regions
            .iter_mut()
            .for_each(|region| *region = None);
        super::volume::end_leases(&mut state.volumes);
    });
}

#[derive(Debug)]
pub(crate) struct Region {
    /// Index of what it was opened by.
    grant: usize,
    /// Whether its drop ends the lease.
    owns: bool,
}

impl Drop for Region {
    fn drop(&mut self) {
        if self.owns {
            with(|state| {
                let grant = state
                    .memory
                    .grants
                    .get(self.grant)
                    .map(|grant| grant.region);
                if let Some(region) = grant.and_then(|at| state.memory.regions.get_mut(at)) {
                    *region = None;
                }
            });
        }
    }
}

pub(crate) fn allocate(bytes: u64, term: Duration) -> Result<Region, Error> {
    let length = usize::try_from(bytes).ok().filter(|_| bytes > 0);
    let length = length.ok_or_else(|| Error::Invalid(format!("{bytes} bytes are no region")))?;
    check_term(term).map_err(Error::Invalid)?;
    with(|state| {
        let memory = &mut state.memory;
        memory.regions.push(Some(vec![0; length]));
        memory.grants.push(Grant {
            region: memory.regions.len() - 1,
            rights: Rights {
                read: true,
                write: true,
                swap: true,
            },
            from: 0,
            until: bytes,
            made_of: Vec::new(),
            revoked: false,
        });
        Ok(Region {
            grant: memory.grants.len() - 1,
            owns: true,
        })
    })
}

/// Refuses terms that no node grants, with the reason.
pub(super) fn check_term(term: Duration) -> Result<(), String> {
    if term >= Duration::from_secs(10) {
        return Ok(());
    }
    Err(format!("a lease lasts 10 s or more, not {term:?}"))
}

/// The number of a capability.
fn number(capability: &str) -> Result<usize, Error> {
    let number = capability.strip_prefix("capability ");
    let number = number.and_then(|number| number.parse().ok());
    number.ok_or_else(|| Error::Invalid("this is no capability".to_owned()))
}

pub(crate) fn open(capability: &str) -> Result<Region, Error> {
    let grant = number(capability)?;
    let opened = Region { grant, owns: false };
    opened.with_bytes(|_, _| Ok(())).map(|()| opened)
}

impl Region {
    /// Acts on the bytes of the region, if it is there and may be used.
    fn with_bytes<T>(
        &self,
        act: impl FnOnce(&Grant, &mut Vec<u8>) -> Result<T, Error>,
    ) -> Result<T, Error> {
        with(|state| {
            let memory = &mut state.memory;
            memory.operations += 1;
            let unknown = || Error::Invalid("this is no capability".to_owned());
            let grant = memory.grants.get(self.grant).ok_or_else(unknown)?;
            let is_revoked = |at: &usize| memory.grants.get(*at).is_some_and(|one| one.revoked);
            if grant.revoked || grant.made_of.iter().any(is_revoked) {
                return Err(Error::Denied("the capability was revoked".to_owned()));
            }
            let bytes = memory.regions.get_mut(grant.region);
            let bytes = bytes.and_then(Option::as_mut).ok_or(Error::Ended)?;
            act(grant, bytes)
        })
    }

    /// Acts on a part of the region, if the grant covers it.
    fn with_part<T>(
        &self,
        offset: u64,
        count: usize,
        allowed: impl FnOnce(Rights) -> bool,
        act: impl FnOnce(&mut [u8]) -> T,
    ) -> Result<T, Error> {
        self.with_bytes(|grant, bytes| {
            if !allowed(grant.rights) {
                let text = "the capability does not give this right";
                return Err(Error::Denied(text.to_owned()));
            }
            let end = offset.checked_add(count as u64);
            let inside = offset >= grant.from && end.is_some_and(|end| end <= grant.until);
            let from = usize::try_from(offset).ok().filter(|_| inside);
            let part = from.and_then(|from| bytes.get_mut(from..from.checked_add(count)?));
            let outside = || Error::Invalid(format!("{count} bytes from {offset} on are outside"));
            part.map(act).ok_or_else(outside)
        })
    }

    pub(crate) fn read(&self, offset: u64, bytes: u32) -> Result<Vec<u8>, Error> {
        let count = usize::try_from(bytes).unwrap_or(usize::MAX);
        self.with_part(offset, count, |rights| rights.read, |part| part.to_vec())
    }

    pub(crate) fn write(&self, offset: u64, bytes: &[u8]) -> Result<(), Error> {
        let copy = |part: &mut [u8]| part.copy_from_slice(bytes);
        self.with_part(offset, bytes.len(), |rights| rights.write, copy)
    }

    pub(crate) fn swap(&self, offset: u64, expected: &[u8], new: &[u8]) -> Result<Swapped, Error> {
        if expected.is_empty() || expected.len() != new.len() {
            return Err(Error::Invalid(
                "both must be as long, and not empty".to_owned(),
            ));
        }
        let swap = |part: &mut [u8]| {
            if part == expected {
                part.copy_from_slice(new);
                Swapped::Done
            } else {
                Swapped::Found(part.to_vec())
            }
        };
        self.with_part(offset, expected.len(), |rights| rights.swap, swap)
    }

    pub(crate) fn size(&self) -> u64 {
        let size = self.with_bytes(|_, bytes| Ok(bytes.len() as u64));
        size.unwrap_or_default()
    }

    pub(crate) fn usage(&self) -> Result<Usage, Error> {
        let bytes = self.with_bytes(|_, bytes| Ok(bytes.len() as u64))?;
        Ok(Usage {
            bytes,
            resident_bytes: bytes,
            operations: with(|state| state.memory.operations),
            left: LEFT,
        })
    }

    pub(crate) fn renew(&self, term: Duration) -> Result<(), Error> {
        check_term(term).map_err(Error::Invalid)?;
        if !self.owns {
            let text = "only the holder of the lease renews it";
            return Err(Error::Denied(text.to_owned()));
        }
        self.with_bytes(|_, _| Ok(()))
    }

    pub(crate) fn share(&self, share: &Share) -> Result<String, Error> {
        let until = share.offset.saturating_add(share.bytes);
        let own = self.with_bytes(|grant, _| Ok(grant.clone()))?;
        let wider = |asked: bool, has: bool| asked && !has;
        if wider(share.rights.read, own.rights.read)
            || wider(share.rights.write, own.rights.write)
            || wider(share.rights.swap, own.rights.swap)
            || share.offset < own.from
            || until > own.until
        {
            let text = "a capability cannot give more than it has";
            return Err(Error::Denied(text.to_owned()));
        }
        Ok(with(|state| {
            let mut made_of = own.made_of;
            made_of.push(self.grant);
            state.memory.grants.push(Grant {
                rights: share.rights,
                from: share.offset,
                until,
                made_of,
                ..own
            });
            format!("capability {}", state.memory.grants.len() - 1)
        }))
    }

    pub(crate) fn revoke(&self, capability: &str) -> Result<(), Error> {
        let number = number(capability)?;
        if !self.owns {
            let text = "only the holder of the lease revokes capabilities";
            return Err(Error::Denied(text.to_owned()));
        }
        with(|state| {
            let grant = state.memory.grants.get_mut(number);
            let grant = grant.filter(|grant| grant.made_of.contains(&self.grant));
            let other = || Error::Invalid("the capability is of another region".to_owned());
            grant.map(|grant| grant.revoked = true).ok_or_else(other)
        })
    }
}
