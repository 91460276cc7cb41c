//! How a command ends: the documented exit codes, and the one error type that carries them.

use std::fmt;
use std::process::ExitCode;

use admin::{ClientError, ErrorCode};
use trust::IdentityError;

/// The documented exit codes. Scripts rely on them: a number is never given another meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    /// It is as the command says.
    Ok = 0,
    /// It failed for a reason that no other code names.
    Failed = 1,
    /// The command line is wrong, or the arguments of a call.
    Usage = 2,
    /// No node answers.
    Unreachable = 3,
    /// Nothing of that name is there.
    NotFound = 4,
    /// A manifest, a check or the ledger says no; nothing was changed.
    Refused = 5,
    /// The workload was admitted and did not run.
    WorkloadFailed = 6,
    /// The guest's call failed: a trap or a broken limit.
    CallFailed = 7,
    /// Ended by Ctrl-C, as shells count it.
    Interrupted = 130,
}

/// The table that `nexus --help` prints.
pub(crate) const EXIT_CODES: &str = "\
Exit codes:
  0    done, and observed to be so
  1    failed
  2    the command line is wrong, or the arguments of a call
  3    no node answers
  4    nothing of that name is there
  5    refused by the manifest's rules, a check or the ledger; nothing was changed
  6    the workload was admitted but does not run
  7    the guest's call failed: a trap or a broken limit
  130  interrupted by Ctrl-C";

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// Why a command did not do what it should, for people, and how the process ends.
#[derive(Debug)]
pub(crate) struct Failure {
    exit: Exit,
    message: String,
}

/// What every command returns.
pub(crate) type Outcome<T = ()> = Result<T, Failure>;

impl Failure {
    /// Joins a code and a sentence: what, where, what to do.
    pub(crate) fn new(exit: Exit, message: impl fmt::Display) -> Self {
        Self {
            exit,
            message: message.to_string(),
        }
    }

    /// The reader of standard output went away, which is its right: no error.
    pub(crate) fn output_closed() -> Self {
        Self {
            exit: Exit::Ok,
            message: String::new(),
        }
    }

    pub(crate) fn exit(&self) -> Exit {
        self.exit
    }

    pub(crate) fn message(&self) -> &str {
        &self.message
    }

    /// The same failure with `what` before its sentence.
    pub(crate) fn context(self, what: impl fmt::Display) -> Self {
        Self {
            message: format!("{what}: {}", self.message),
            ..self
        }
    }

    /// The same failure with one more line.
    pub(crate) fn hint(mut self, line: impl fmt::Display) -> Self {
        self.message.push_str(&format!("\n{line}"));
        self
    }
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        let exit = match &error {
            ClientError::Unreachable { .. } => Exit::Unreachable,
            ClientError::Refused(refusal) => match refusal.code {
                ErrorCode::NotFound => Exit::NotFound,
                ErrorCode::Forbidden
                | ErrorCode::Refused
                | ErrorCode::TooLarge
                | ErrorCode::QuotaExceeded => Exit::Refused,
                ErrorCode::GuestFailed => Exit::CallFailed,
                ErrorCode::BadRequest
                | ErrorCode::Busy
                | ErrorCode::Unavailable
                | ErrorCode::Internal => Exit::Failed,
            },
            ClientError::Broken(_) | ClientError::Unknown(_) => Exit::Failed,
        };
        Self::new(exit, error)
    }
}

impl From<IdentityError> for Failure {
    fn from(error: IdentityError) -> Self {
        Self::new(Exit::Failed, error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_help_lists_every_code() {
        let all = [
            Exit::Ok,
            Exit::Failed,
            Exit::Usage,
            Exit::Unreachable,
            Exit::NotFound,
            Exit::Refused,
            Exit::WorkloadFailed,
            Exit::CallFailed,
            Exit::Interrupted,
        ];
        let listed: Vec<&str> = EXIT_CODES
            .lines()
            .skip(1)
            .filter_map(|line| line.split_whitespace().next())
            .collect();
        let expected: Vec<String> = all.iter().map(|exit| (*exit as u8).to_string()).collect();
        assert_eq!(listed, expected);
    }
}
