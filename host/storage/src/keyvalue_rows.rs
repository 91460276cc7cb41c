//! Buckets as rows: what a change does to values, counts and the quota. Pure but for the tables.

use std::collections::BTreeMap;

use redb::{ReadableTable, TableDefinition, WriteTransaction};

use crate::store_bounds::{BUCKETS_MAX, KEYS_MAX};
use crate::store_errors::KeyValueError;
use crate::tables::Applied;

/// Workload, bucket and key to the value.
pub(crate) const VALUES: TableDefinition<(&str, &str, &str), &[u8]> =
    TableDefinition::new("keyvalue-values");
/// Workload and bucket to its number of keys; a bucket without keys has no row.
pub(crate) const BUCKETS: TableDefinition<(&str, &str), u64> =
    TableDefinition::new("keyvalue-buckets");
/// Workload to the bytes of all its keys and values, and the number of its keys.
pub(crate) const USAGE: TableDefinition<&str, (u64, u64)> = TableDefinition::new("keyvalue-usage");

/// What each key shall be; none deletes it.
pub(crate) type Changes = BTreeMap<String, Option<Vec<u8>>>;

/// The text that sorts right after `text` and everything in it.
pub(crate) fn after(text: &str) -> String {
    format!("{text}\0")
}

pub(crate) fn prepare(transaction: &WriteTransaction) -> Result<(), redb::Error> {
    transaction.open_table(VALUES)?;
    transaction.open_table(BUCKETS)?;
    transaction.open_table(USAGE)?;
    Ok(())
}

fn size(key: &str, value: usize) -> u64 {
    (key.len() + value) as u64
}

/// Makes all `changes` or none.
pub(crate) fn change(
    transaction: &WriteTransaction,
    workload: &str,
    bucket: &str,
    changes: &Changes,
    quota: u64,
) -> Applied<(), KeyValueError> {
    let mut values = transaction.open_table(VALUES)?;
    let mut buckets = transaction.open_table(BUCKETS)?;
    let mut usage = transaction.open_table(USAGE)?;
    let (bytes, keys) = usage.get(workload)?.map_or((0, 0), |row| row.value());
    let in_bucket = buckets
        .get((workload, bucket))?
        .map_or(0, |row| row.value());
    let (mut bytes_after, mut added, mut removed) = (bytes, 0, 0);
    for (key, value) in changes {
        let old = values
            .get((workload, bucket, key.as_str()))?
            .map(|row| row.value().len());
        bytes_after -= old.map_or(0, |old| size(key, old));
        bytes_after += value.as_ref().map_or(0, |value| size(key, value.len()));
        added += u64::from(old.is_none() && value.is_some());
        removed += u64::from(old.is_some() && value.is_none());
    }
    // What shrinks is always let in: a quota may have been lowered.
    if bytes_after > quota && bytes_after > bytes {
        return Ok(Err(KeyValueError::Quota {
            limit: quota,
            asked: bytes_after,
        }));
    }
    let keys_after = keys + added - removed;
    if keys_after > KEYS_MAX && keys_after > keys {
        return Ok(Err(KeyValueError::TooMany {
            what: "keys",
            max: KEYS_MAX,
        }));
    }
    let in_bucket_after = in_bucket + added - removed;
    if in_bucket == 0 && in_bucket_after > 0 {
        let end = after(workload);
        let others = buckets.range((workload, "")..(end.as_str(), ""))?.count() as u64;
        if others >= BUCKETS_MAX {
            return Ok(Err(KeyValueError::TooMany {
                what: "buckets",
                max: BUCKETS_MAX,
            }));
        }
    }
    for (key, value) in changes {
        let row = (workload, bucket, key.as_str());
        match value {
            Some(value) => values.insert(row, value.as_slice())?,
            None => values.remove(row)?,
        };
    }
    if in_bucket_after == 0 {
        buckets.remove((workload, bucket))?;
    } else {
        buckets.insert((workload, bucket), in_bucket_after)?;
    }
    if keys_after == 0 {
        usage.remove(workload)?;
    } else {
        usage.insert(workload, (bytes_after, keys_after))?;
    }
    Ok(Ok(()))
}

/// Removes everything of a workload.
pub(crate) fn remove(transaction: &WriteTransaction, workload: &str) -> Result<(), redb::Error> {
    let end = after(workload);
    let end = end.as_str();
    let mut values = transaction.open_table(VALUES)?;
    values.retain_in((workload, "", "")..(end, "", ""), |_, _| false)?;
    let mut buckets = transaction.open_table(BUCKETS)?;
    buckets.retain_in((workload, "")..(end, ""), |_, _| false)?;
    transaction.open_table(USAGE)?.remove(workload)?;
    Ok(())
}
