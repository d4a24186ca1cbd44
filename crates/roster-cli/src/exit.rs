//! How the binary ends: the documented exit codes, and which error leads to which.

use std::fmt;
use std::io;
use std::process::ExitCode;

use roster_client::Error as ClientError;
use roster_proto::v1::refusal::Code;
use roster_server::NodeError;
use roster_store::tools::RepairError;
use roster_store::{OpenError, ReadError, ReplicaError, RestoreError};

/// The end of a command. The numbers are part of the interface; docs/cli.md and the help list them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    /// 0.
    Success,
    /// 1: it failed, and no other code says how.
    Failure,
    /// 2: the command line itself is wrong.
    Usage,
    /// 3: what was asked for is not there.
    NotFound,
    /// 4: a rule of the registry refused it.
    Refused,
    /// 5: no node was reached, or none answered in time.
    Unreachable,
    /// 6: a log is damaged.
    LogDamaged,
    /// What a wrapped command ended with.
    OfCommand(u8),
}

/// The list in the help.
pub(crate) const HELP: &str = "\
Exit codes:
  0  done
  1  failed
  2  the command line is wrong
  3  not found
  4  refused by a rule of the registry
  5  no node reached
  6  the log is damaged
  `roster register NAME -- COMMAND` ends with the code of COMMAND (128 + N when signal N ended it).";

impl Exit {
    fn code(self) -> u8 {
        match self {
            Self::Success => 0,
            Self::Failure => 1,
            Self::Usage => 2,
            Self::NotFound => 3,
            Self::Refused => 4,
            Self::Unreachable => 5,
            Self::LogDamaged => 6,
            Self::OfCommand(code) => code,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

/// An error of the command line itself, with the exit that it asks for.
#[derive(Debug)]
pub(crate) struct Ending {
    exit: Exit,
    why: String,
}

impl Ending {
    /// Ends with `exit`, and says why.
    pub(crate) fn error(exit: Exit, why: impl Into<String>) -> anyhow::Error {
        anyhow::Error::new(Self { exit, why: why.into() })
    }
}

impl fmt::Display for Ending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.why)
    }
}

impl std::error::Error for Ending {}

/// The exit that an error asks for.
pub(crate) fn of(error: &anyhow::Error) -> Exit {
    for cause in error.chain() {
        if let Some(ending) = cause.downcast_ref::<Ending>() {
            return ending.exit;
        }
        if let Some(client) = cause.downcast_ref::<ClientError>() {
            return of_client(client);
        }
        if let Some(node) = cause.downcast_ref::<NodeError>() {
            return of_node(node);
        }
        if let Some(read) = cause.downcast_ref::<ReadError>() {
            return of_read(read);
        }
        if let Some(repair) = cause.downcast_ref::<RepairError>() {
            return of_repair(repair);
        }
        if let Some(replica) = cause.downcast_ref::<ReplicaError>() {
            return of_replica(replica);
        }
        if let Some(restore) = cause.downcast_ref::<RestoreError>() {
            return of_restore(restore);
        }
    }
    Exit::Failure
}

fn of_node(error: &NodeError) -> Exit {
    match error {
        NodeError::Log(OpenError::Damaged { .. } | OpenError::NoManifest { .. } | OpenError::Rejected { .. }) => {
            Exit::LogDamaged
        }
        NodeError::Log(
            OpenError::Locked { .. }
            | OpenError::Version { .. }
            | OpenError::OtherContent { .. }
            | OpenError::NoSwitchDirectory { .. }
            | OpenError::HoldsLog { .. }
            | OpenError::Io(_),
        )
        | NodeError::Listen { .. }
        | NodeError::Thread(_)
        | NodeError::Entropy(_)
        | NodeError::LogFailed { .. } => Exit::Failure,
    }
}

fn of_read(error: &ReadError) -> Exit {
    match error {
        ReadError::Damaged(_) => Exit::LogDamaged,
        ReadError::Gone { .. } => Exit::NotFound,
        ReadError::Version { .. } | ReadError::OtherContent { .. } | ReadError::Io(_) => Exit::Failure,
    }
}

fn of_repair(error: &RepairError) -> Exit {
    match error {
        RepairError::Read(read) => of_read(read),
        RepairError::NothingReadable { .. } | RepairError::SeveralLogs { .. } => Exit::LogDamaged,
        RepairError::Locked { .. } | RepairError::NoSwitchDirectory | RepairError::Io(_) => Exit::Failure,
    }
}

fn of_replica(error: &ReplicaError) -> Exit {
    match error {
        ReplicaError::Damaged(_) => Exit::LogDamaged,
        ReplicaError::Read(read) => of_read(read),
        ReplicaError::Locked { .. }
        | ReplicaError::NotABackup { .. }
        | ReplicaError::OtherLog { .. }
        | ReplicaError::OtherContent { .. }
        | ReplicaError::Diverged { .. }
        | ReplicaError::Refused { .. }
        | ReplicaError::Io(_) => Exit::Failure,
    }
}

fn of_restore(error: &RestoreError) -> Exit {
    match error {
        RestoreError::NoBackup { .. } | RestoreError::NothingYet { .. } => Exit::NotFound,
        RestoreError::Backup(replica) => of_replica(replica),
        RestoreError::NotEmpty { .. } | RestoreError::Io(_) => Exit::Failure,
    }
}

fn of_client(error: &ClientError) -> Exit {
    match error {
        ClientError::InvalidWord(_) | ClientError::NoEndpoint | ClientError::InvalidEndpoint { .. } => Exit::Usage,
        ClientError::Refused { refusal, .. } => of_refusal(refusal.code()),
        ClientError::Unreachable { .. } | ClientError::TimedOut { .. } | ClientError::NoMember(_) => Exit::Unreachable,
        ClientError::NotEncoded { .. } => Exit::Usage,
        ClientError::Failed { .. }
        | ClientError::Unintelligible { .. }
        | ClientError::Closed { .. }
        | ClientError::Ended { .. }
        | ClientError::NoFarewell { .. } => Exit::Failure,
    }
}

/// What a refusal means for the caller of the binary.
pub(crate) fn of_refusal(code: Code) -> Exit {
    match code {
        Code::UnknownSession | Code::UnknownInstance | Code::UnknownQueue => Exit::NotFound,
        Code::Unavailable => Exit::Unreachable,
        Code::InvalidName
        | Code::InvalidAddress
        | Code::InvalidKind
        | Code::InvalidArgument
        | Code::SessionNotConnected
        | Code::VersionTooLow
        | Code::KindConflict
        | Code::AddressInUse
        | Code::LimitExceeded
        | Code::Unauthorized
        | Code::ReadOnly
        | Code::QueueFull
        | Code::SettingsDiffer
        | Code::SequenceGap
        | Code::MessageTooLarge => Exit::Refused,
        Code::Unspecified => Exit::Failure,
    }
}

/// The error and its causes on one line.
pub(crate) fn chain(error: &anyhow::Error) -> String {
    let mut line = String::new();
    for cause in error.chain() {
        // A status prints its details and metadata, which are bytes to a reader.
        let status = cause.downcast_ref::<Box<tonic::Status>>().map(AsRef::as_ref);
        let text = match status.or_else(|| cause.downcast_ref()) {
            Some(status) => status.message().to_owned(),
            None => cause.to_string(),
        };
        // Transport errors name their cause in their own text.
        if text.is_empty() || line.ends_with(&text) {
            continue;
        }
        if !line.is_empty() {
            line.push_str(": ");
        }
        line.push_str(&text.replace('\n', " "));
    }
    line
}

/// Whether the reader of the output has gone: `roster watch --all | head`.
pub(crate) fn is_closed_pipe(error: &anyhow::Error) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}

#[cfg(test)]
mod tests {
    use anyhow::Context;

    use super::*;

    #[test]
    fn the_exit_of_a_cause_is_found_under_its_context() {
        let error = Err::<(), _>(Ending::error(Exit::NotFound, "no instance")).context("look").unwrap_err();
        assert_eq!(of(&error), Exit::NotFound);
        assert_eq!(chain(&error), "look: no instance");
    }

    #[test]
    fn a_cause_that_the_text_already_names_is_not_said_twice() {
        let error = Err::<(), _>(anyhow::anyhow!("refused")).context("connect: refused").unwrap_err();
        assert_eq!(chain(&error), "connect: refused");
    }

    #[test]
    fn the_help_lists_every_code() {
        let all = [
            Exit::Success,
            Exit::Failure,
            Exit::Usage,
            Exit::NotFound,
            Exit::Refused,
            Exit::Unreachable,
            Exit::LogDamaged,
        ];
        for exit in all {
            assert!(HELP.contains(&format!("\n  {}  ", exit.code())), "{exit:?}");
        }
    }
}
