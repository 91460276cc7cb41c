//! Commands: arguments, environment, settings, output, exit status.

use hypermesh_runtime::{Breach, CallKind, CallOutcome, ExitStatus, LogStream};
use types::ByteSize;

use crate::harness::{runtime, start};

#[tokio::test]
async fn a_command_gets_arguments_environment_settings_and_an_empty_input() {
    let runtime = runtime();
    let command = start(&runtime, "command/report", |spec| {
        spec.args = vec!["--verbose".to_owned(), "x y".to_owned()];
        spec.env.insert("LEVEL".to_owned(), "info".to_owned());
        spec.config
            .insert("greeting".to_owned(), "salut".to_owned());
    })
    .await;
    assert_eq!(command.replica.run().await, Ok(ExitStatus(7)));
    assert_eq!(
        command.seen.log_text(LogStream::Stdout),
        "guest\n--verbose\nx y\n"
    );
    assert_eq!(
        command.seen.log_text(LogStream::Stderr),
        "LEVEL=info\nsalut"
    );
    let records = command.seen.records();
    assert_eq!(records.len(), 1);
    assert_eq!(records[0].kind, CallKind::Command);
    assert_eq!(records[0].outcome, CallOutcome::Exited(7));
    assert_eq!(command.replica.in_flight(), 0);
}

#[tokio::test]
async fn the_result_of_run_is_the_exit_status() {
    let runtime = runtime();
    let command = start(&runtime, "command/ok", |_| {}).await;
    assert_eq!(command.replica.run().await, Ok(ExitStatus(0)));
    let command = start(&runtime, "command/fail", |_| {}).await;
    assert_eq!(command.replica.run().await, Ok(ExitStatus(1)));
}

#[tokio::test]
async fn a_log_flood_is_cut_and_counted_and_the_command_ends_well() {
    let runtime = runtime();
    let limit = ByteSize::kib(16);
    let command = start(&runtime, "command/flood", |spec| {
        spec.limits.log_rate = limit
    })
    .await;
    assert_eq!(command.replica.run().await, Ok(ExitStatus(0)));
    let breach = Breach::LogRate { limit };
    let log = command.seen.log_text(LogStream::Stdout);
    let floods = command.seen.breaches();
    assert!(
        !floods.is_empty() && floods.iter().all(|seen| *seen == breach),
        "{floods:?}"
    );
    assert_eq!(log.matches(&breach.to_string()).count(), floods.len());
    let dropped = command.replica.log_bytes_dropped();
    assert!(dropped > 0);
    let markers = floods.len() * format!("\n[{breach}]\n").len();
    assert_eq!(
        log.len() - markers + usize::try_from(dropped).unwrap(),
        64 * 4096
    );
}
