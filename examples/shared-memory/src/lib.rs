//! A number in leased memory that guests on several nodes add to, none of which sees another: whoever
//! begins leases the region, the others join with a capability.

use std::cell::RefCell;
use std::time::Duration;

use hypermesh_guest::lifecycle::Checkpoint;
use hypermesh_guest::memory::{self, Error, Region, Rights, Share};

hypermesh_guest::library!();

/// Where the number is, and how long.
const OFFSET: u64 = 0;
const BYTES: u64 = 8;

thread_local! {
    /// The region that this guest uses, as long as its instance lives.
    static REGION: RefCell<Option<Region>> = const { RefCell::new(None) };
}

struct Tally;
export!(Tally);
hypermesh_guest::checkpoint!(Tally);

/// Acts on the region, if there is one.
fn with_region<T>(act: impl FnOnce(&Region) -> Result<T, Error>) -> Result<T, String> {
    REGION.with_borrow(|region| {
        let region = region.as_ref().ok_or("begin or join first")?;
        act(region).map_err(|error| error.to_string())
    })
}

impl Guest for Tally {
    fn begin(seconds: u32) -> Result<String, String> {
        let term = Duration::from_secs(seconds.into());
        let region = memory::allocate(BYTES, term).map_err(|error| error.to_string())?;
        REGION.replace(Some(region));
        with_region(|region| {
            region.share(&Share {
                rights: Rights {
                    read: true,
                    swap: true,
                    ..Rights::default()
                },
                offset: OFFSET,
                bytes: BYTES,
                term,
                node: None,
            })
        })
    }

    fn join(capability: String) -> Result<(), String> {
        let region = memory::open(&capability).map_err(|error| error.to_string())?;
        REGION.replace(Some(region));
        Ok(())
    }

    fn add(times: u32) -> Result<u64, String> {
        with_region(|region| {
            let mut sum = 0;
            for _ in 0..times {
                sum = region.add(OFFSET, 1)?;
            }
            Ok(sum)
        })
    }

    fn sum() -> Result<u64, String> {
        with_region(|region| {
            let bytes = region.read(OFFSET, 8)?;
            Ok(u64::from_le_bytes(bytes.try_into().unwrap_or_default()))
        })
    }

    fn end() {
        REGION.take();
    }
}

/// Kept as a library with state only so that its instance, and with it the region, lives from call to
/// call: what is in a region is not this guest's to keep.
impl Checkpoint for Tally {
    fn checkpoint() -> Result<Vec<u8>, String> {
        Ok(Vec::new())
    }

    fn restore(_: Vec<u8>) -> Result<(), String> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hypermesh_guest::mock;

    #[test]
    fn what_one_adds_the_others_see() {
        mock::reset();
        assert!(Tally::add(1).unwrap_err().contains("first"));
        let capability = Tally::begin(60).unwrap();
        assert_eq!(Tally::add(3), Ok(3));
        let other = memory::open(&capability).unwrap();
        assert_eq!(other.add(OFFSET, 1), Ok(4));
        assert_eq!(Tally::sum(), Ok(4));
        assert!(other.write(OFFSET, [0; 8]).is_err(), "only read and swap");
        Tally::end();
        assert_eq!(other.add(OFFSET, 1), Err(Error::Ended));
    }
}
