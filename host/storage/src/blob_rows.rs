//! Containers and objects as rows: what each change does to counts and the quota. Contents are
//! elsewhere; a row names the file that holds them.

use redb::{ReadableTable, TableDefinition, WriteTransaction};

use crate::keyvalue_rows::after;
use crate::store_bounds::{CONTAINERS_MAX, OBJECTS_MAX};
use crate::store_errors::BlobError;
use crate::tables::Applied;

/// Workload and container to its creation in Unix milliseconds.
pub(crate) const CONTAINERS: TableDefinition<(&str, &str), u64> =
    TableDefinition::new("blob-containers");
/// Workload, container and object to file, size in bytes, creation in Unix milliseconds.
pub(crate) const OBJECTS: TableDefinition<(&str, &str, &str), (u64, u64, u64)> =
    TableDefinition::new("blob-objects");
/// Workload to the bytes of all names and contents, and the number of its objects.
pub(crate) const USAGE: TableDefinition<&str, (u64, u64)> = TableDefinition::new("blob-usage");

/// A container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContainerInfo {
    /// When it was made, Unix milliseconds.
    pub created_ms: u64,
}

/// An object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectInfo {
    /// When it was written, Unix milliseconds.
    pub created_ms: u64,
    /// Its size.
    pub bytes: u64,
}

/// An object's row.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Row {
    pub(crate) file: u64,
    pub(crate) bytes: u64,
    pub(crate) created_ms: u64,
}

impl From<(u64, u64, u64)> for Row {
    fn from((file, bytes, created_ms): (u64, u64, u64)) -> Self {
        Self {
            file,
            bytes,
            created_ms,
        }
    }
}

pub(crate) fn prepare(transaction: &WriteTransaction) -> Result<(), redb::Error> {
    transaction.open_table(CONTAINERS)?;
    transaction.open_table(OBJECTS)?;
    transaction.open_table(USAGE)?;
    Ok(())
}

/// Makes a container.
pub(crate) fn create_container(
    transaction: &WriteTransaction,
    workload: &str,
    container: &str,
    now_ms: u64,
    quota: u64,
) -> Applied<(), BlobError> {
    let mut containers = transaction.open_table(CONTAINERS)?;
    let mut usage = transaction.open_table(USAGE)?;
    if containers.get((workload, container))?.is_some() {
        return Ok(Err(BlobError::Exists(container.to_owned())));
    }
    let end = after(workload);
    let others = containers
        .range((workload, "")..(end.as_str(), ""))?
        .count() as u64;
    if others >= CONTAINERS_MAX {
        return Ok(Err(BlobError::TooMany {
            what: "containers",
            max: CONTAINERS_MAX,
        }));
    }
    let (bytes, objects) = usage.get(workload)?.map_or((0, 0), |row| row.value());
    let asked = bytes + container.len() as u64;
    if asked > quota {
        return Ok(Err(BlobError::Quota {
            limit: quota,
            asked,
        }));
    }
    containers.insert((workload, container), now_ms)?;
    usage.insert(workload, (asked, objects))?;
    Ok(Ok(()))
}

/// Puts an object in place, over an older one and away from `moved_from`. The file of the older
/// one, which nothing names then.
pub(crate) fn place(
    transaction: &WriteTransaction,
    workload: &str,
    (container, object): (&str, &str),
    row: Row,
    moved_from: Option<(&str, &str)>,
    quota: u64,
) -> Applied<Option<u64>, BlobError> {
    let containers = transaction.open_table(CONTAINERS)?;
    let mut objects = transaction.open_table(OBJECTS)?;
    let mut usage = transaction.open_table(USAGE)?;
    if containers.get((workload, container))?.is_none() {
        return Ok(Err(BlobError::NoContainer(container.to_owned())));
    }
    let (bytes, count) = usage.get(workload)?.map_or((0, 0), |used| used.value());
    let old = objects
        .get((workload, container, object))?
        .map(|old| Row::from(old.value()));
    let size = |name: &str, bytes: u64| name.len() as u64 + bytes;
    let mut asked = bytes + size(object, row.bytes) - old.map_or(0, |old| size(object, old.bytes));
    let mut count_after = count + 1 - u64::from(old.is_some());
    if let Some((_, name)) = moved_from {
        asked -= size(name, row.bytes);
        count_after -= 1;
    }
    if asked > quota && asked > bytes {
        return Ok(Err(BlobError::Quota {
            limit: quota,
            asked,
        }));
    }
    if count_after > OBJECTS_MAX && count_after > count {
        return Ok(Err(BlobError::TooMany {
            what: "objects",
            max: OBJECTS_MAX,
        }));
    }
    if let Some((container, object)) = moved_from {
        objects.remove((workload, container, object))?;
    }
    objects.insert(
        (workload, container, object),
        (row.file, row.bytes, row.created_ms),
    )?;
    usage.insert(workload, (asked, count_after))?;
    Ok(Ok(old.map(|old| old.file)))
}

/// Moves an object. The file of the one that was there before.
pub(crate) fn move_object(
    transaction: &WriteTransaction,
    workload: &str,
    from: (&str, &str),
    to: (&str, &str),
    quota: u64,
) -> Applied<Option<u64>, BlobError> {
    let row = {
        let objects = transaction.open_table(OBJECTS)?;
        let row = objects.get((workload, from.0, from.1))?;
        row.map(|row| Row::from(row.value()))
    };
    let Some(row) = row else {
        let (container, object) = (from.0.to_owned(), from.1.to_owned());
        return Ok(Err(BlobError::NoObject { container, object }));
    };
    if from == to {
        return Ok(Ok(None));
    }
    place(transaction, workload, to, row, Some(from), quota)
}

/// Deletes objects that are there; their files, which nothing names then.
pub(crate) fn delete(
    transaction: &WriteTransaction,
    workload: &str,
    container: &str,
    names: &[String],
) -> Result<Vec<u64>, redb::Error> {
    let mut objects = transaction.open_table(OBJECTS)?;
    let mut usage = transaction.open_table(USAGE)?;
    let (mut bytes, mut count) = usage.get(workload)?.map_or((0, 0), |row| row.value());
    let mut files = Vec::new();
    for name in names {
        if let Some(row) = objects.remove((workload, container, name.as_str()))? {
            let row = Row::from(row.value());
            bytes -= name.len() as u64 + row.bytes;
            count -= 1;
            files.push(row.file);
        }
    }
    if !files.is_empty() {
        usage.insert(workload, (bytes, count))?;
    }
    Ok(files)
}

/// Deletes all objects of a container, and the container itself if `whole`; their files.
pub(crate) fn clear(
    transaction: &WriteTransaction,
    workload: &str,
    container: &str,
    whole: bool,
) -> Applied<Vec<u64>, BlobError> {
    let mut containers = transaction.open_table(CONTAINERS)?;
    if containers.get((workload, container))?.is_none() {
        return Ok(Err(BlobError::NoContainer(container.to_owned())));
    }
    let mut names = Vec::new();
    {
        let objects = transaction.open_table(OBJECTS)?;
        let end = after(container);
        for row in objects.range((workload, container, "")..(workload, end.as_str(), ""))? {
            names.push(row?.0.value().2.to_owned());
        }
    }
    let files = delete(transaction, workload, container, &names)?;
    if whole {
        containers.remove((workload, container))?;
        let mut usage = transaction.open_table(USAGE)?;
        let (bytes, count) = usage.get(workload)?.map_or((0, 0), |row| row.value());
        usage.insert(workload, (bytes - container.len() as u64, count))?;
    }
    Ok(Ok(files))
}

/// Removes everything of a workload; the files, which nothing names then.
pub(crate) fn remove(
    transaction: &WriteTransaction,
    workload: &str,
) -> Result<Vec<u64>, redb::Error> {
    let end = after(workload);
    let end = end.as_str();
    let mut files = Vec::new();
    let mut objects = transaction.open_table(OBJECTS)?;
    objects.retain_in((workload, "", "")..(end, "", ""), |_, row| {
        files.push(row.0);
        false
    })?;
    let mut containers = transaction.open_table(CONTAINERS)?;
    containers.retain_in((workload, "")..(end, ""), |_, _| false)?;
    transaction.open_table(USAGE)?.remove(workload)?;
    Ok(files)
}
