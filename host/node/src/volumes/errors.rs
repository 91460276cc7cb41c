//! What guests are told of what members, volumes and capabilities say.

use assets::volume::{
    FileError, MemberError, OpenVolumeError, ReadVolumeError, RepairError, WriteVolumeError,
};
use runtime::{AssetError, VolumeError};

pub(super) fn unavailable(error: impl std::fmt::Display) -> VolumeError {
    AssetError::Unavailable(error.to_string()).into()
}

pub(super) fn denied(error: impl std::fmt::Display) -> VolumeError {
    AssetError::Denied(error.to_string()).into()
}

pub(super) fn invalid(error: impl std::fmt::Display) -> VolumeError {
    AssetError::Invalid(error.to_string()).into()
}

pub(super) fn lost(error: impl std::fmt::Display) -> VolumeError {
    AssetError::Lost(error.to_string()).into()
}

/// What one member says that stands for all.
pub(super) fn of_member(error: &MemberError, text: String) -> VolumeError {
    match error {
        MemberError::Ended => AssetError::Ended.into(),
        MemberError::Fenced { .. } => VolumeError::Fenced(text),
        MemberError::Full { .. } => VolumeError::Full(text),
        MemberError::Denied(_) => denied(text),
        MemberError::Invalid(_) => invalid(text),
        MemberError::Disk(_) => unavailable(text),
        MemberError::Lost(_) => lost(text),
    }
}

pub(super) fn not_opened(error: &OpenVolumeError) -> VolumeError {
    let text = error.to_string();
    match error {
        OpenVolumeError::TooFew { last, .. } => of_member(last, text),
        OpenVolumeError::Contended => AssetError::Busy(text).into(),
        OpenVolumeError::Seats { .. } => invalid(text),
    }
}

pub(super) fn not_read(error: &ReadVolumeError) -> VolumeError {
    let text = error.to_string();
    match error {
        ReadVolumeError::TooFew { .. } | ReadVolumeError::Malformed(_) => lost(text),
        ReadVolumeError::OutOfRange { .. } | ReadVolumeError::TooLong { .. } => invalid(text),
    }
}

pub(super) fn not_written(error: &WriteVolumeError) -> VolumeError {
    let text = error.to_string();
    match error {
        WriteVolumeError::NotWriter => denied(text),
        WriteVolumeError::Fenced { .. } => VolumeError::Fenced(text),
        WriteVolumeError::TooFew { last, .. } => of_member(last, text),
        WriteVolumeError::Undone { .. } | WriteVolumeError::Unsteady { .. } => lost(text),
        WriteVolumeError::Read(error) => not_read(error),
        WriteVolumeError::Entropy => unavailable(text),
    }
}

fn not_repaired(error: &RepairError) -> VolumeError {
    let RepairError::Write { error: reason, .. } = error;
    match not_written(reason) {
        VolumeError::Asset(AssetError::Lost(_)) => lost(error),
        other => other,
    }
}

pub(super) fn not_filed(error: &FileError) -> VolumeError {
    let text = error.to_string();
    match error {
        FileError::NotFound(_) => VolumeError::NotFound(text),
        FileError::Exists(_) | FileError::Folder(_) => VolumeError::Exists(text),
        FileError::Full => VolumeError::Full(text),
        FileError::TooLong { .. } => invalid(text),
        FileError::Damaged { .. } => unavailable(text),
        FileError::Unread | FileError::Restless(_) => AssetError::Busy(text).into(),
        FileError::Read(error) => not_read(error),
        FileError::Write(error) => not_written(error),
        FileError::Repair(error) => not_repaired(error),
    }
}
