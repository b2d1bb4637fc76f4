//! The commands that take away and bring back.

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

/// What can be brought back.
#[derive(Debug, Clone)]
pub(in crate::cli) enum Back {
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

impl FromStr for Back {
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

/// Whether to ask first.
#[derive(Debug, Args)]
pub(in crate::cli) struct Asking {
    /// Do it without asking
    #[arg(long)]
    pub(in crate::cli) yes: bool,
}

/// What can be done with the trash.
#[derive(Debug, Subcommand)]
pub(in crate::cli) enum TrashCommand {
    /// List what can be brought back, newest first
    #[command(after_help = "\
Examples:
  orlop trash list
  orlop trash list team/app --json | jq '.[].tags[].name'")]
    List {
        /// Only what was removed from this repository
        repository: Option<RepoName>,

        /// Only the first NUMBER
        #[arg(long, value_name = "NUMBER")]
        limit: Option<usize>,

        #[command(flatten)]
        output: Output,
    },

    /// Bring back a manifest with its tags, a tag with its manifest, or a deleted repository
    #[command(after_help = "\
Examples:
  orlop trash restore team/app:latest
  orlop trash restore team/app@sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08
  orlop trash restore team/app")]
    Restore {
        /// REPO@DIGEST, REPO:TAG or REPO, as `orlop trash list` names it
        #[arg(value_name = "WHAT")]
        back: Back,

        #[command(flatten)]
        output: Output,
    },

    /// Give up what is in the trash, for good
    ///
    /// Nothing brings it back then. The collector gives its space back when the leases on it have ended: gc.lease
    /// after each removal, and as long again for the children of an index and for signatures.
    Empty {
        /// Only that of this repository
        repository: Option<RepoName>,

        #[command(flatten)]
        asking: Asking,

        #[command(flatten)]
        output: Output,
    },
}

/// What can be done with a tag.
#[derive(Debug, Subcommand)]
pub(in crate::cli) enum TagCommand {
    /// Tell what happened to a tag, newest first; also to one that was removed
    History {
        /// REPO:TAG
        #[arg(value_name = "REPO:TAG")]
        tag: TagName,

        /// Only the first NUMBER
        #[arg(long, value_name = "NUMBER")]
        limit: Option<usize>,

        #[command(flatten)]
        output: Output,
    },

    /// Point a tag back at what it pointed at before its last change
    #[command(after_help = "\
Examples:
  orlop tag rollback team/app:latest
  orlop tag rollback team/app:latest \\
    --to sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08")]
    Rollback {
        /// REPO:TAG
        #[arg(value_name = "REPO:TAG")]
        tag: TagName,

        /// A digest out of its history instead
        #[arg(long, value_name = "DIGEST")]
        to: Option<Digest>,

        #[command(flatten)]
        output: Output,
    },

    /// Remove a tag alone; `orlop trash restore` brings it back
    Delete {
        /// REPO:TAG
        #[arg(value_name = "REPO:TAG")]
        tag: TagName,
    },
}

/// What can be done with a repository.
#[derive(Debug, Subcommand)]
pub(in crate::cli) enum RepoCommand {
    /// Move all that is in a repository to the trash
    ///
    /// Waits until it is done. A running server goes on with it in any case; on a stopped store it can be cut
    /// off, and the next server goes on.
    Delete {
        /// The repository
        repository: RepoName,

        #[command(flatten)]
        asking: Asking,

        #[command(flatten)]
        output: Output,
    },

    /// Give a repository another name
    Rename {
        /// Its name
        from: RepoName,

        /// Its new name
        to: RepoName,
    },

    /// Bring back what the last deletion of a repository moved to the trash
    Restore {
        /// The repository
        repository: RepoName,

        #[command(flatten)]
        output: Output,
    },
}
