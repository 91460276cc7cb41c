//! Names and times that objects are kept under. Knows no file.

use std::time::{SystemTime, UNIX_EPOCH};

use crate::keyvalue::is_name;
use crate::store_bounds::{OBJECT_NAME_BYTES_MAX, STORE_NAME_BYTES_MAX};
use crate::store_errors::BlobError;

pub(crate) fn now_ms() -> u64 {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    u64::try_from(now.as_millis()).unwrap_or(u64::MAX)
}

pub(crate) fn check_container(name: &str) -> Result<(), BlobError> {
    let (what, max) = ("a container's name", STORE_NAME_BYTES_MAX);
    is_name(name, max)
        .then_some(())
        .ok_or(BlobError::Name { what, max })
}

pub(crate) fn check_object(name: &str) -> Result<(), BlobError> {
    let (what, max) = ("an object's name", OBJECT_NAME_BYTES_MAX);
    is_name(name, max)
        .then_some(())
        .ok_or(BlobError::Name { what, max })
}

pub(crate) fn owned<const N: usize>(texts: [&str; N]) -> [String; N] {
    texts.map(str::to_owned)
}
