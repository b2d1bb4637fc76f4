//! `orlop adopt`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use clap::Args;
use http::Method;

use super::adoption_report;
use super::args::{Confirmation, Output, one_of};
use super::connect::{change, start_runtime};
use super::failure::{Failure, exit_code};
use super::operate;
use super::progress::Bar;
use super::retention;
use super::terminal::{confirm, print_result};
use crate::config::Config;
use crate::distribution::DistributionTree;
use crate::http::api::{self, PlanParameters};
use crate::maintenance::adopt::plan;
use crate::oci::ManifestLimits;
use crate::server::operations::Operation;
use crate::server::{ADOPTED, Owner, is_store};
use crate::store::Adoption;

/// Arguments of `adopt`.
#[derive(Debug, Args)]
pub(super) struct AdoptArgs {
    /// Directory of the old registry: the one that holds docker/registry/v2
    path: PathBuf,

    /// Report what would be taken over, and change nothing
    #[arg(long, conflicts_with_all = ["finish", "release"])]
    plan: bool,

    /// How the bytes get here: shared with the old tree, or copied and verified
    #[arg(long, value_parser = one_of::<Adoption>(["hardlink", "copy"]), default_value = "hardlink")]
    how: Adoption,

    /// Remove the old tree, after a check that everything was adopted and verified
    #[arg(long, conflicts_with = "release")]
    finish: bool,

    /// Show what the policies would remove of the adopted images, and let them
    #[arg(long)]
    release: bool,

    /// User (and group) that serves, if this command runs as root [default: the owner of the data directory]
    #[arg(long, value_name = "USER[:GROUP]")]
    owner: Option<Owner>,

    #[command(flatten)]
    confirmation: Confirmation,

    #[command(flatten)]
    output: Output,
}

/// Runs the command.
pub(super) fn run(config: Config, arguments: &AdoptArgs) -> Result<ExitCode, Failure> {
    // One spelling of the path, because it is recorded.
    let path = std::fs::canonicalize(&arguments.path);
    let path = path.map_err(|error| Failure::of(arguments.path.display(), error))?;
    if arguments.plan {
        return show_plan(&config, &path, arguments.output.json);
    }
    let adoption = Place::of(config, &path, arguments.owner);
    let done = match (arguments.finish, arguments.release) {
        (true, _) => finish(&adoption.config, path, arguments),
        (_, true) => release(&adoption.config, arguments),
        _ => take_over(&adoption.config, path, arguments),
    };
    adoption.hand_over()?;
    done
}

/// Where the images go, and whose they are.
struct Place {
    config: Config,
    /// The user that serves, if that is another one.
    owner: Option<Owner>,
}

impl Place {
    /// The data directory that is set, if it holds a store; otherwise one below the old tree.
    fn of(mut config: Config, old: &Path, owner: Option<Owner>) -> Self {
        let set = config.storage.data.clone();
        if !is_store(&set) {
            config.storage.data = old.join(ADOPTED);
        }
        let is_root = rustix::process::geteuid().is_root();
        let owner = owner.or_else(|| Owner::of(&config.storage.data).or_else(|_| Owner::of(&set)).ok());
        Self { owner: owner.filter(|_| is_root), config }
    }

    /// Gives what this command has written to the user that serves.
    fn hand_over(&self) -> Result<(), Failure> {
        let Some(owner) = self.owner else {
            return Ok(());
        };
        let data = &self.config.storage.data;
        let metadata = self.config.metadata_dir();
        // By default the database is in the data directory. Neither exists if the command failed early.
        let metadata = Some(&metadata).filter(|metadata| !metadata.starts_with(data));
        for path in [Some(data), metadata].into_iter().flatten().filter(|path| path.exists()) {
            owner.take_over(path).map_err(|error| Failure::of(path.display(), error))?;
        }
        Ok(())
    }
}

fn show_plan(config: &Config, path: &Path, json: bool) -> Result<ExitCode, Failure> {
    let tree = Arc::new(open_tree(path)?);
    let bar = Bar::new();
    let limits = ManifestLimits { max_references: config.manifests.max_references.get() };
    let progress = |step| bar.show(&step);
    let planned = plan(&tree, limits, &progress);
    let report = start_runtime()?.block_on(planned).map_err(|error| Failure::Other(error.into()))?;
    drop(bar);
    print_result(&report, json, adoption_report::adopted);
    Ok(exit_code(report.is_complete()))
}

fn take_over(config: &Config, path: PathBuf, arguments: &AdoptArgs) -> Result<ExitCode, Failure> {
    // Before a data directory is created for it.
    open_tree(&path)?;
    operate::run(config, Operation::Adopt { path, how: arguments.how }, arguments.output.json)
}

fn open_tree(path: &Path) -> Result<DistributionTree, Failure> {
    DistributionTree::open(path).map_err(|error| Failure::Other(error.into()))
}

fn finish(config: &Config, path: PathBuf, arguments: &AdoptArgs) -> Result<ExitCode, Failure> {
    let question = format!("Remove the tree of the old registry in {}?", path.display());
    confirm(&arguments.confirmation, &question)?;
    operate::run(config, Operation::FinishAdoption { path }, arguments.output.json)
}

/// Shows what the policies would remove once the adopted images are released, and releases them.
fn release(config: &Config, arguments: &AdoptArgs) -> Result<ExitCode, Failure> {
    let parameters =
        PlanParameters { released: Some(true), expiring: Some(true), ..PlanParameters::default() };
    retention::show_plan(config, parameters)?;
    confirm(&arguments.confirmation, "Let policies and the budget remove adopted images?")?;
    let released: api::Adoption = change(config, Method::POST, &["adoption", "release"], None::<&()>)?;
    print_result(&released, arguments.output.json, |_| "The adopted images are released.\n".to_owned());
    Ok(exit_code(true))
}
