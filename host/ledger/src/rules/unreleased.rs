//! The one rule of the versions that only tests know. No program that is released contains it.

use crate::execute::Stop;
use crate::outcome::Refusal;
use crate::transaction::Operation;

/// From rules 2 on a workload's name has two letters or more.
pub(super) fn check(version: u32, operation: &Operation) -> Result<(), Stop> {
    match operation {
        Operation::Deploy { spec, .. } if version >= 2 && spec.name.as_str().len() < 2 => {
            let text = "its name has one letter, rules 2 want two".to_owned();
            Err(Refusal::Workload(text).into())
        }
        _ => Ok(()),
    }
}
