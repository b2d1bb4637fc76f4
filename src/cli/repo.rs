//! `orlop repo`: begins the work, and waits for whoever does it: the server, or a task of this process.

use std::process::ExitCode;
use std::time::Duration;

use http::{Method, StatusCode};

use super::args::RepoCommand;
use super::confirm::confirm;
use super::connect::connect;
use super::output::many;
use super::progress::Bar;
use super::table::{print_json, write_out};
use super::{Failure, exit_code, start};
use crate::config::Config;
use crate::http::api::{ChangeKind, RenameRequest, UndeleteRequest, Work};
use crate::jobs::progress::{Step, Unit};
use crate::oci::RepoName;
use crate::server::admin::{ApiClient, ClientError, path};

/// How often the work is looked at.
const EVERY: Duration = Duration::from_millis(50);

pub(super) fn run(config: &Config, command: RepoCommand) -> Result<ExitCode, Failure> {
    match command {
        RepoCommand::Delete { repository, asking, output } => {
            confirm(&asking, &format!("Move all that is in {repository} to the trash?"))?;
            delete(config, &repository, output.json)
        }
        RepoCommand::Rename { from, to } => rename(config, &from, &to),
        RepoCommand::Restore { repository, output } => restore(config, &repository, output.json),
    }
}

fn delete(config: &Config, repository: &RepoName, json: bool) -> Result<ExitCode, Failure> {
    let work = start()?.block_on(async {
        let mut client = connect(config, true).await?;
        let path = path(&["repositories", repository.as_str()]);
        let begun: Work = client.send(Method::DELETE, &path, None::<&()>).await?;
        finish(&mut client, begun).await
    })?;
    Ok(tell(&work, json))
}

/// Brings back what the last deletion of `repository` took away.
pub(super) fn restore(config: &Config, repository: &RepoName, json: bool) -> Result<ExitCode, Failure> {
    let work = start()?.block_on(async {
        let mut client = connect(config, true).await?;
        let path = path(&["repositories", repository.as_str(), "restore"]);
        let begun: Work = client.send(Method::POST, &path, Some(&UndeleteRequest::default())).await?;
        finish(&mut client, begun).await
    })?;
    Ok(tell(&work, json))
}

/// Waits until `work` has ended, and yields how.
async fn finish(client: &mut ApiClient, mut work: Work) -> Result<Work, Failure> {
    let (bar, begun) = (Bar::new(), (work.kind, work.removal));
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
        tokio::time::sleep(EVERY).await;
        work = match client.get::<Work>(&path, &()).await {
            Ok(now) if (now.kind, now.removal) == begun => now,
            // Somebody wants the contrary by now.
            Ok(_) => {
                return Err(Failure::Other("something else was begun with the repository meanwhile".into()));
            }
            Err(ClientError::Refused(problem)) if problem.status == StatusCode::NOT_FOUND => {
                return Err(Failure::Other("the work has ended, and nobody remembers how".into()));
            }
            Err(error) => return Err(error.into()),
        };
    }
    Ok(work)
}

fn tell(work: &Work, json: bool) -> ExitCode {
    if json {
        print_json(work);
    } else {
        write_out(&told(work));
    }
    exit_code(work.failed == 0)
}

fn told(work: &Work) -> String {
    let Work { repository, done, failed, .. } = work;
    let done = many(*done, "manifest");
    let mut text = match work.kind {
        ChangeKind::Delete => {
            format!("{done} of {repository} removed; orlop repo restore {repository} brings them back\n")
        }
        _ => format!("{done} of {repository} restored\n"),
    };
    for tag in &work.taken {
        text += &format!("{repository}:{tag} was used again meanwhile, and stays as it is\n");
    }
    if *failed > 0 {
        let why = match work.kind {
            ChangeKind::Delete => "stay: an immutable tag holds them, or an index that was pushed meanwhile",
            _ => "do not come back: what they refer to is gone",
        };
        text += &format!("{} {why}\n", many(*failed, "manifest"));
    }
    for digest in &work.missing {
        text += &format!("  {digest} is missing\n");
    }
    text
}

fn rename(config: &Config, from: &RepoName, to: &RepoName) -> Result<ExitCode, Failure> {
    let request = RenameRequest { to: to.to_string() };
    start()?.block_on(async {
        let mut client = connect(config, true).await?;
        let path = path(&["repositories", from.as_str(), "rename"]);
        client.send::<()>(Method::POST, &path, Some(&request)).await?;
        Ok::<_, Failure>(())
    })?;
    write_out(&format!("{from} is {to} now\n"));
    Ok(exit_code(true))
}
