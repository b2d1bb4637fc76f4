//! `orlop repo`: starts the work on a repository and waits until the server, or a task of this process, has done it.

use std::process::ExitCode;
use std::time::Duration;

use clap::Subcommand;
use http::{Method, StatusCode};

use super::args::{Confirmation, Output};
use super::connect::{change, connect, start_runtime};
use super::failure::{Failure, exit_code};
use super::progress::Bar;
use super::terminal::{confirm, count, print_result, write_out};
use crate::config::Config;
use crate::http::api::{ChangeKind, RenameRequest, UndeleteRequest, Work};
use crate::maintenance::progress::{Step, Unit};
use crate::oci::RepoName;
use crate::server::admin::{ApiClient, ClientError, path};

/// How often the progress of the work is polled.
const POLL_INTERVAL: Duration = Duration::from_millis(50);

/// Actions on a repository.
#[derive(Debug, Subcommand)]
pub(super) enum RepoCommand {
    /// Move everything in a repository to the trash
    ///
    /// Waits until it is done. A running server continues in any case. On a stopped store, an interrupted deletion is
    /// continued by the next server.
    Delete {
        /// Repository name
        repository: RepoName,

        #[command(flatten)]
        confirmation: Confirmation,

        #[command(flatten)]
        output: Output,
    },

    /// Rename a repository
    Rename {
        /// Current name
        from: RepoName,

        /// New name
        to: RepoName,
    },

    /// Restore what the last deletion of a repository moved to the trash
    Restore {
        /// Repository name
        repository: RepoName,

        #[command(flatten)]
        output: Output,
    },
}

pub(super) fn run(config: &Config, command: RepoCommand) -> Result<ExitCode, Failure> {
    match command {
        RepoCommand::Delete { repository, confirmation, output } => {
            confirm(&confirmation, &format!("Move everything in {repository} to the trash?"))?;
            delete(config, &repository, output.json)
        }
        RepoCommand::Rename { from, to } => {
            let request = RenameRequest { to: to.to_string() };
            change::<()>(config, Method::POST, &["repositories", from.as_str(), "rename"], Some(&request))?;
            write_out(&format!("renamed {from} to {to}\n"));
            Ok(exit_code(true))
        }
        RepoCommand::Restore { repository, output } => restore(config, &repository, output.json),
    }
}

fn delete(config: &Config, repository: &RepoName, json: bool) -> Result<ExitCode, Failure> {
    work(config, Method::DELETE, &["repositories", repository.as_str()], None, json)
}

/// Restores what the last deletion of `repository` removed.
pub(super) fn restore(config: &Config, repository: &RepoName, json: bool) -> Result<ExitCode, Failure> {
    let segments = ["repositories", repository.as_str(), "restore"];
    work(config, Method::POST, &segments, Some(&UndeleteRequest::default()), json)
}

/// Starts the work that a request asks for, waits until it has finished, and prints its result.
fn work(
    config: &Config,
    method: Method,
    segments: &[&str],
    body: Option<&UndeleteRequest>,
    json: bool,
) -> Result<ExitCode, Failure> {
    let work = start_runtime()?.block_on(async {
        let mut client = connect(config, true).await?;
        let started = client.send(method, &path(segments), body).await?;
        finish(&mut client, started).await
    })?;
    print_result(&work, json, to_text);
    Ok(exit_code(work.failed == 0))
}

/// Waits until `work` has finished, and returns its result.
async fn finish(client: &mut ApiClient, mut work: Work) -> Result<Work, Failure> {
    let bar = Bar::new();
    let started = (work.kind, work.removal);
    let what = if work.kind == ChangeKind::Delete { "deleting" } else { "restoring" };
    let path = path(&["repositories", &work.repository, "work"]);
    while !work.finished {
        let step = Step {
            what: format!("{what} {}", work.repository),
            done: work.done,
            total: Some(work.total),
            unit: Unit::Items,
        };
        bar.show(&step);
        tokio::time::sleep(POLL_INTERVAL).await;
        work = match client.get::<Work>(&path, &()).await {
            Ok(now) if (now.kind, now.removal) == started => now,
            // Another client has requested the opposite in the meantime.
            Ok(_) => {
                return Err(Failure::Other("another operation on the repository has started since".into()));
            }
            Err(ClientError::Refused(problem)) if problem.status == StatusCode::NOT_FOUND => {
                return Err(Failure::Other("the work has ended, but its result is no longer known".into()));
            }
            Err(error) => return Err(error.into()),
        };
    }
    Ok(work)
}

fn to_text(work: &Work) -> String {
    let Work { repository, done, failed, .. } = work;
    let done = count(*done, "manifest");
    let mut text = match work.kind {
        ChangeKind::Delete => {
            format!("{done} of {repository} removed; orlop repo restore {repository} restores them\n")
        }
        _ => format!("{done} of {repository} restored\n"),
    };
    for tag in &work.taken {
        text += &format!("{repository}:{tag} has been pushed again and is left unchanged\n");
    }
    if *failed > 0 {
        let reason = match work.kind {
            ChangeKind::Delete => "kept: an immutable tag or a newly pushed index needs them",
            _ => "not restored: they reference missing content",
        };
        text += &format!("{} {reason}\n", count(*failed, "manifest"));
    }
    for digest in &work.missing {
        text += &format!("  {digest} is missing\n");
    }
    text
}
