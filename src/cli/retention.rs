//! `orlop retention`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Subcommand;
use http::Method;
use serde_json::Value;

use super::args::{Output, one_of};
use super::connect::{self, change, connect, fetch, start_runtime};
use super::failure::{Failure, exit_code};
use super::terminal::{Table, print_json, print_list, print_result, short, size, when, write_out};
use crate::config::Config;
use crate::http::api::{
    Applied, ApplyRequest, Checked, ImportParameters, ImportSource, MAX_PAGE_ITEMS, Page, Plan,
    PlanParameters, PolicyList, Run, import_policies,
};
use crate::printable::escape;
use crate::retention::{PRESETS, Policies, Policy};
use crate::server::admin::{ApiClient, path};
use crate::text_file;

/// Actions on retention policies.
#[derive(Debug, Subcommand)]
pub(super) enum RetentionCommand {
    /// Show by tag what would expire, by which rule, and what keeps the rest; change nothing
    #[command(after_help = "\
Examples:
  orlop retention plan
  orlop retention plan team/app --expiring
  orlop retention plan --json | jq -r '.items[] | select(.expires) | .tag'")]
    Plan {
        /// Repository to plan; without it, all of them
        repository: Option<String>,

        /// Plan as if the store were nearly full
        #[arg(long)]
        pressure: bool,

        /// List only what would expire
        #[arg(long)]
        expiring: bool,

        #[command(flatten)]
        output: Output,
    },

    /// Apply the plan: move what expires to the trash
    ///
    /// Each tag is compared with its state at planning time; tags that have changed are skipped and reported. Expired
    /// content stays in the trash for gc.trash.
    Apply {
        /// Repository to apply the plan to; without it, all of them
        repository: Option<String>,

        /// Id of a plan from `plan --json`; the server keeps only the last few plans
        #[arg(long, value_name = "ID", conflicts_with = "repository")]
        plan: Option<String>,

        /// Stop at the first tag that has changed
        #[arg(long)]
        strict: bool,

        #[command(flatten)]
        output: Output,
    },

    /// List retention runs and what they removed
    Runs(Output),

    /// Print the policies in force
    Policies(Output),

    /// Set the policies in FILE; each replaces a policy of the same name
    Set {
        /// TOML file: a list of `policies`, or a configuration file with a section `retention`
        file: PathBuf,
    },

    /// Remove a policy that was set with `set`
    Remove {
        /// Policy name
        name: String,
    },

    /// Check the policies in FILE
    Check {
        /// TOML file: a list of `policies`, or a configuration file with a section `retention`
        file: PathBuf,
    },

    /// Print the names of the presets, or the rules of one
    Presets {
        /// Preset to print, in the form that `set` and the configuration file accept
        name: Option<String>,
    },

    /// Convert the policies of another registry, and list what cannot be converted
    Import {
        /// Registry that the policies come from
        #[arg(value_parser = one_of::<ImportSource>(["ecr", "zot"]))]
        from: ImportSource,

        /// Amazon ECR's lifecycle policy, or zot's configuration: JSON or YAML
        file: PathBuf,

        /// Name of the resulting policy
        #[arg(long)]
        name: Option<String>,

        /// Comma-separated globs of the repositories that the ECR policy applies to
        #[arg(long, value_name = "GLOBS")]
        repositories: Option<String>,

        #[command(flatten)]
        output: Output,
    },
}

pub(super) fn run(config: &Config, command: RetentionCommand) -> Result<ExitCode, Failure> {
    match command {
        RetentionCommand::Plan { repository, pressure, expiring, output } => {
            let parameters = PlanParameters {
                repository,
                pressure: pressure.then_some(true),
                expiring: expiring.then_some(true),
                ..PlanParameters::default()
            };
            plan(config, parameters, output.json)
        }
        RetentionCommand::Apply { repository, plan, strict, output } => {
            let plan = plan
                .map(|id| id.parse().map_err(|_| Failure::Other(format!("{id:?} is not a plan id").into())));
            apply(config, &ApplyRequest { plan: plan.transpose()?, repository, strict }, output.json)
        }
        RetentionCommand::Policies(output) => policies(config, output.json),
        RetentionCommand::Runs(output) => runs(config, output.json),
        RetentionCommand::Set { file } => set(config, &file),
        RetentionCommand::Remove { name } => remove(config, &name),
        RetentionCommand::Check { file } => check(&file),
        RetentionCommand::Presets { name } => presets(name.as_deref()),
        RetentionCommand::Import { from, file, name, repositories, output } => {
            import(&file, &ImportParameters { from, name, repositories }, &output)
        }
    }
}

fn plan(config: &Config, parameters: PlanParameters, json: bool) -> Result<ExitCode, Failure> {
    let plan = make_plan(config, parameters)?;
    if json {
        print_json(&plan);
    } else {
        print_plan(&plan);
    }
    Ok(exit_code(true))
}

/// Makes a plan, and prints it for people.
pub(super) fn show_plan(config: &Config, parameters: PlanParameters) -> Result<(), Failure> {
    print_plan(&make_plan(config, parameters)?);
    Ok(())
}

fn make_plan(config: &Config, mut parameters: PlanParameters) -> Result<Plan, Failure> {
    start_runtime()?.block_on(async {
        let mut client = connect(config, false).await?;
        load_plan(&mut client, &mut parameters).await
    })
}

fn print_plan(plan: &Plan) {
    let mut table = Table::new(["REPOSITORY", "TAG", "DIGEST", "ACTION", "REASON"]);
    for item in &plan.items {
        table.row([
            item.repository.clone(),
            item.tag.clone().unwrap_or_else(|| "(none)".into()),
            short(&item.digest),
            if item.expires { "expire" } else { "keep" }.into(),
            item.reason.clone(),
        ]);
    }
    table.print();
    if plan.kept_left_out {
        write_out("\nKept tags are not listed, to limit memory use. Plan a single repository to see them.\n");
    }
    let mut free =
        plan.would_free.map_or_else(String::new, |bytes| format!("; {} would be freed", size(bytes)));
    if plan.would_free_later > 0 {
        free += &format!(", {} once the old tree is removed", size(plan.would_free_later));
    }
    write_out(&format!(
        "\n{} tags and {} manifests would expire, {} tags would be kept{free}. Nothing was changed.\n",
        plan.tags, plan.manifests, plan.tags_kept
    ));
}

/// Loads all pages of a plan and joins them.
async fn load_plan(client: &mut ApiClient, parameters: &mut PlanParameters) -> Result<Plan, Failure> {
    let path = path(&["retention", "plan"]);
    parameters.limit = Some(MAX_PAGE_ITEMS);
    let mut plan: Plan = client.get(&path, parameters).await?;
    while let Some(next) = plan.next.take() {
        parameters.plan = Some(plan.plan);
        parameters.after = Some(next);
        let more: Plan = client.get(&path, parameters).await?;
        plan.items.extend(more.items);
        plan.next = more.next;
    }
    Ok(plan)
}

fn apply(config: &Config, request: &ApplyRequest, json: bool) -> Result<ExitCode, Failure> {
    let done: Applied = change(config, Method::POST, &["retention", "apply"], Some(request))?;
    print_result(&done, json, |done| {
        let mut text = format!("Moved {} tags and {} manifests to the trash.\n", done.tags, done.manifests);
        for skip in &done.skips {
            let tag = skip.tag.as_deref().unwrap_or(&skip.digest);
            text.push_str(&format!("Skipped {} {tag}: it has changed\n", skip.repository));
        }
        if done.stopped {
            text.push_str("Stopped at this tag; earlier changes remain.\n");
        }
        text
    });
    Ok(exit_code(!done.stopped))
}

fn policies(config: &Config, json: bool) -> Result<ExitCode, Failure> {
    let found: PolicyList = fetch(config, &["retention", "policies"], &())?;
    if json {
        print_json(&found);
        return Ok(exit_code(found.broken.is_none()));
    }
    let mut text = String::new();
    for entry in &found.policies {
        let from = match entry.set_at {
            None => "the configuration file".to_owned(),
            at => format!("set at {}", when(at)),
        };
        text.push_str(&format!("# Source: {from}.\n{}\n", toml_of(vec![entry.policy.clone()])?));
    }
    for warning in &found.warnings {
        text.push_str(&format!("# Warning: {}\n", escape(warning)));
    }
    if let Some(broken) = &found.broken {
        text.push_str(&format!("# Expiry is paused: {}\n", escape(broken)));
    }
    write_out(if text.is_empty() { "# No policies: nothing expires.\n" } else { &text });
    Ok(exit_code(found.broken.is_none()))
}

fn runs(config: &Config, json: bool) -> Result<ExitCode, Failure> {
    let found: Page<Run> = fetch(config, &["retention", "runs"], &())?;
    let heads = ["STARTED (UTC)", "ENDED (UTC)", "BY", ">TAGS", ">MANIFESTS", ">SKIPPED"];
    print_list(&found.items, json, heads, |run| {
        let cause = serde_json::to_value(run.cause).ok();
        [
            when(Some(run.began_at)),
            when(Some(run.ended_at)),
            cause.as_ref().and_then(Value::as_str).unwrap_or_default().to_owned(),
            run.tags.to_string(),
            run.manifests.to_string(),
            run.skipped.to_string(),
        ]
    });
    Ok(exit_code(true))
}

fn set(config: &Config, file: &Path) -> Result<ExitCode, Failure> {
    let policies = read(file)?;
    if !policies.protected.is_empty() || !policies.immutable.is_empty() {
        let message = "protected and immutable tags are set in the configuration file";
        return Err(Failure::Other(format!("{}: {message}", file.display()).into()));
    }
    start_runtime()?.block_on(async {
        let mut client = connect(config, true).await?;
        for policy in &policies.policies {
            let name = policy.name_or_preset();
            let path = path(&["retention", "policies", name]);
            let checked: Checked = client.send(Method::PUT, &path, Some(policy)).await?;
            let mut text = format!("{} is in force.\n", escape(name));
            for warning in &checked.warnings {
                text.push_str(&format!("Warning: {}\n", escape(warning)));
            }
            write_out(&text);
        }
        Ok(exit_code(true))
    })
}

fn remove(config: &Config, name: &str) -> Result<ExitCode, Failure> {
    connect::remove(config, &["retention", "policies", name], &())?;
    Ok(exit_code(true))
}

fn check(file: &Path) -> Result<ExitCode, Failure> {
    let (_, warnings) = read(file)?.compile().map_err(|error| Failure::Other(error.into()))?;
    let mut text = format!("{} is valid.\n", file.display());
    warnings.iter().for_each(|warning| text.push_str(&format!("Warning: {warning}\n")));
    write_out(&text);
    Ok(exit_code(true))
}

/// Reads the policies of a file: a list of policies, or a configuration file with `[retention]`.
fn read(file: &Path) -> Result<Policies, Failure> {
    let text = text_file::read(file).map_err(|error| Failure::of(file.display(), error))?;
    let failure = |error: toml::de::Error| Failure::of(file.display(), error);
    let table: toml::Table = text.parse().map_err(failure)?;
    if let Some(section) = table.get("retention") {
        let section: crate::config::Retention = section.clone().try_into().map_err(failure)?;
        return Ok(section.policies());
    }
    toml::from_str(&text).map_err(failure)
}

fn presets(name: Option<&str>) -> Result<ExitCode, Failure> {
    let Some(name) = name else {
        let names: Vec<_> = PRESETS.iter().map(|preset| preset.name).collect();
        write_out(&format!("{}\n", names.join("\n")));
        return Ok(exit_code(true));
    };
    let preset = PRESETS.iter().find(|preset| preset.name == name);
    let preset = preset.ok_or_else(|| Failure::Other(format!("no preset named {name:?}").into()))?;
    write_out(preset.toml);
    Ok(exit_code(true))
}

fn import(file: &Path, parameters: &ImportParameters, output: &Output) -> Result<ExitCode, Failure> {
    let text = text_file::read(file).map_err(|error| Failure::of(file.display(), error))?;
    let found = import_policies(&text, parameters).map_err(|error| Failure::of(file.display(), error))?;
    print_result(&found, output.json, |found| {
        let notes: String = found.notes.iter().map(|note| format!("# {note}\n")).collect();
        format!("{notes}\n{}", found.toml)
    });
    Ok(exit_code(true))
}

fn toml_of(policies: Vec<Policy>) -> Result<String, Failure> {
    let policies = Policies { policies, ..Policies::default() };
    let section = std::collections::BTreeMap::from([("retention", policies)]);
    toml::to_string(&section).map_err(|error| Failure::Other(error.into()))
}
