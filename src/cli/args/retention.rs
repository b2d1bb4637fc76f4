//! What can be said behind `orlop retention`.

use std::path::PathBuf;

use clap::Subcommand;

use super::Output;

/// What `retention` does.
#[derive(Debug, Subcommand)]
pub(in crate::cli) enum RetentionCommand {
    /// Tell tag by tag what would go and by which rule, and what keeps the rest; change nothing
    #[command(after_help = "\
Examples:
  orlop retention plan
  orlop retention plan team/app --expiring
  orlop retention plan --json | jq -r '.items[] | select(.expires) | .tag'")]
    Plan {
        /// Only this repository
        repository: Option<String>,

        /// As if the store were nearly full
        #[arg(long)]
        pressure: bool,

        /// Only what would go
        #[arg(long)]
        expiring: bool,

        #[command(flatten)]
        output: Output,
    },

    /// Let go what the plan says
    ///
    /// Each tag is compared with what it was when it was judged; what has changed is left alone and told. What
    /// goes is in the trash for gc.trash.
    Apply {
        /// Only this repository
        repository: Option<String>,

        /// The plan that `plan --json` told, as long as the server has made few others since
        #[arg(long, value_name = "ID", conflicts_with = "repository")]
        plan: Option<String>,

        /// Stop at the first tag that has changed
        #[arg(long)]
        strict: bool,

        #[command(flatten)]
        output: Output,
    },

    /// Tell what policies took away
    Runs(Output),

    /// Print the policies in force
    Policies(Output),

    /// Set the policies of FILE, each in the place of one of its name
    Set {
        /// TOML: a list of `policies`, or a configuration file with a section `retention`
        file: PathBuf,
    },

    /// Remove a policy that was set
    Remove {
        /// Its name
        name: String,
    },

    /// Check the policies of FILE
    Check {
        /// TOML: a list of `policies`, or a configuration file with a section `retention`
        file: PathBuf,
    },

    /// Print the presets' names, or the rules of one
    Presets {
        /// Preset to print, as `set` and the configuration file take it
        name: Option<String>,
    },

    /// Print what another registry's policies would be here, and what could not be carried over
    Import {
        /// Whose
        from: ImportFrom,

        /// Amazon's lifecycle policy, or zot's configuration: JSON or YAML
        file: PathBuf,

        /// What to call the policy
        #[arg(long)]
        name: Option<String>,

        /// Globs of the repositories that Amazon's policy is for, with commas between them
        #[arg(long, value_name = "GLOBS")]
        repositories: Option<String>,

        #[command(flatten)]
        output: Output,
    },
}

/// Whose policies are imported.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(in crate::cli) enum ImportFrom {
    Ecr,
    Zot,
}
