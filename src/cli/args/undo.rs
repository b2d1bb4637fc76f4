//! Arguments of `orlop trash`, `tag` and `repo`, which remove and restore content.

use std::fmt::Display;
use std::str::FromStr;

use clap::{Args, Subcommand};

use super::Output;
use crate::oci::{Digest, RepoName, Tag};

/// A tag with its repository, as `REPO:TAG`.
#[derive(Debug, Clone)]
pub(in crate::cli) struct TagName {
    pub(in crate::cli) repository: RepoName,
    pub(in crate::cli) tag: Tag,
}

/// What `orlop trash restore` restores.
#[derive(Debug, Clone)]
pub(in crate::cli) enum RestoreTarget {
    /// A manifest.
    Manifest(RepoName, Digest),
    /// A tag.
    Tag(TagName),
    /// A repository.
    Repository(RepoName),
}

impl FromStr for TagName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (repository, tag) = text.split_once(':').ok_or("must be REPO:TAG, such as team/app:latest")?;
        Ok(Self { repository: read("repository", repository)?, tag: read("tag", tag)? })
    }
}

impl FromStr for RestoreTarget {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some((repository, digest)) = text.split_once('@') {
            return Ok(Self::Manifest(read("repository", repository)?, read("digest", digest)?));
        }
        if text.contains(':') {
            return Ok(Self::Tag(text.parse()?));
        }
        Ok(Self::Repository(read("repository", text)?))
    }
}

fn read<T: FromStr<Err: Display>>(named: &str, text: &str) -> Result<T, String> {
    text.parse().map_err(|error| format!("{named}: {error}"))
}

/// The flag that skips the confirmation prompt.
#[derive(Debug, Args)]
pub(in crate::cli) struct Confirmation {
    /// Do not ask for confirmation
    #[arg(long)]
    pub(in crate::cli) yes: bool,
}

/// Actions on the trash.
#[derive(Debug, Subcommand)]
pub(in crate::cli) enum TrashCommand {
    /// List what can be restored, newest first
    #[command(after_help = "\
Examples:
  orlop trash list
  orlop trash list team/app --json | jq '.[].tags[].name'")]
    List {
        /// Repository; without it, all of them
        repository: Option<RepoName>,

        /// List only the first NUMBER items
        #[arg(long, value_name = "NUMBER")]
        limit: Option<usize>,

        #[command(flatten)]
        output: Output,
    },

    /// Restore a manifest with its tags, a tag with its manifest, or a deleted repository
    #[command(after_help = "\
Examples:
  orlop trash restore team/app:latest
  orlop trash restore team/app@sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08
  orlop trash restore team/app")]
    Restore {
        /// REPO@DIGEST, REPO:TAG or REPO, as `orlop trash list` shows it
        #[arg(value_name = "WHAT")]
        target: RestoreTarget,

        #[command(flatten)]
        output: Output,
    },

    /// Permanently delete what is in the trash
    ///
    /// It cannot be restored afterwards. The garbage collector frees its space when its leases have expired: gc.lease
    /// after each removal, and as long again for the children of an index and for signatures.
    Empty {
        /// Repository; without it, all of them
        repository: Option<RepoName>,

        #[command(flatten)]
        confirmation: Confirmation,

        #[command(flatten)]
        output: Output,
    },
}

/// Actions on a tag.
#[derive(Debug, Subcommand)]
pub(in crate::cli) enum TagCommand {
    /// Show the history of a tag, newest first, even if it was removed
    History {
        /// Tag, as REPO:TAG
        #[arg(value_name = "REPO:TAG")]
        tag: TagName,

        /// Show only the first NUMBER changes
        #[arg(long, value_name = "NUMBER")]
        limit: Option<usize>,

        #[command(flatten)]
        output: Output,
    },

    /// Point a tag back at the manifest before its last change
    #[command(after_help = "\
Examples:
  orlop tag rollback team/app:latest
  orlop tag rollback team/app:latest \\
    --to sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08")]
    Rollback {
        /// Tag, as REPO:TAG
        #[arg(value_name = "REPO:TAG")]
        tag: TagName,

        /// Digest from the tag's history to point at instead
        #[arg(long, value_name = "DIGEST")]
        to: Option<Digest>,

        #[command(flatten)]
        output: Output,
    },

    /// Remove a tag, but not its manifest; `orlop trash restore` restores it
    Delete {
        /// Tag, as REPO:TAG
        #[arg(value_name = "REPO:TAG")]
        tag: TagName,
    },
}

/// Actions on a repository.
#[derive(Debug, Subcommand)]
pub(in crate::cli) enum RepoCommand {
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
