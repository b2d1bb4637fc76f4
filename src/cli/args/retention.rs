//! Arguments of `orlop retention`.

use std::path::PathBuf;

use clap::Subcommand;

use super::Output;

/// Actions on retention policies.
#[derive(Debug, Subcommand)]
pub(in crate::cli) enum RetentionCommand {
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
        from: ImportFrom,

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

/// The registry that policies are imported from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(in crate::cli) enum ImportFrom {
    Ecr,
    Zot,
}
