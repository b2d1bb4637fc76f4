//! `orlop repos` and `orlop tags`.

use std::process::ExitCode;

use clap::Args;

use super::args::{Output, one_of};
use super::connect;
use super::failure::{Failure, exit_code};
use super::terminal::{print_list, short, size, when};
use crate::config::Config;
use crate::http::api::{ListParameters, Order, Repository, Sort, Tag};

/// Arguments of commands that list something.
#[derive(Debug, Args)]
pub(super) struct ListArgs {
    /// List only names that contain TEXT
    #[arg(long, value_name = "TEXT")]
    pub(super) search: Option<String>,

    /// Sort key; versions are for tags only; sizes, times and versions sort in descending order
    #[arg(long, value_parser = one_of::<Sort>(["name", "size", "pushed", "pulled", "version"]), default_value = "name")]
    pub(super) sort: Sort,

    /// Reverse the order
    #[arg(long)]
    pub(super) reverse: bool,

    /// List only the first NUMBER items
    #[arg(long, value_name = "NUMBER")]
    pub(super) limit: Option<usize>,

    #[command(flatten)]
    pub(super) output: Output,
}

/// Lists repositories, optionally those whose names begin with `prefix`.
pub(super) fn repositories(
    config: &Config,
    prefix: Option<String>,
    list: &ListArgs,
) -> Result<ExitCode, Failure> {
    let parameters = ListParameters { prefix, ..parameters(list) };
    let found: Vec<Repository> = connect::list(config, &["repositories"], parameters, list.limit)?;
    let heads = ["REPOSITORY", ">TAGS", ">MANIFESTS", ">SIZE", "PUSHED (UTC)", "PULLED (UTC)"];
    print_list(&found, list.output.json, heads, |repository| {
        [
            repository.name.clone(),
            repository.tags.to_string(),
            repository.manifests.to_string(),
            size(repository.bytes),
            when(Some(repository.pushed_at)),
            when(repository.pulled_at),
        ]
    });
    Ok(exit_code(true))
}

/// Lists the tags of `repository`.
pub(super) fn tags(config: &Config, repository: &str, list: &ListArgs) -> Result<ExitCode, Failure> {
    let segments = ["repositories", repository, "tags"];
    let found: Vec<Tag> = connect::list(config, &segments, parameters(list), list.limit)?;
    let heads = ["TAG", ">SIZE", "PUSHED (UTC)", "PULLED (UTC)", "DIGEST", "PROTECTION", "PLATFORMS"];
    print_list(&found, list.output.json, heads, |tag| {
        [
            tag.name.clone(),
            size(tag.size),
            when(Some(tag.pushed_at)),
            when(tag.pulled_at),
            short(&tag.digest),
            protection(tag).into(),
            tag.platforms.join(", "),
        ]
    });
    Ok(exit_code(true))
}

/// Returns how a tag is protected.
fn protection(tag: &Tag) -> &'static str {
    match (tag.immutable, tag.protected) {
        (true, _) => "immutable",
        (false, true) => "protected",
        (false, false) => "-",
    }
}

fn parameters(list: &ListArgs) -> ListParameters {
    let is_ascending = (list.sort.default_order() == Order::Asc) != list.reverse;
    let order = if is_ascending { Order::Asc } else { Order::Desc };
    let search = list.search.clone();
    ListParameters { search, sort: Some(list.sort), order: Some(order), ..ListParameters::default() }
}
