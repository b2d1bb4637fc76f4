//! `orlop repos` and `orlop tags`.

use std::process::ExitCode;

use super::args::{ListArgs, SortBy};
use super::table::{print_list, short, size, when};
use super::{Failure, connect, exit_code};
use crate::config::Config;
use crate::http::api::{ListParameters, Order, Repository, Sort, Tag};

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
    let sort = match list.sort {
        SortBy::Name => Sort::Name,
        SortBy::Size => Sort::Size,
        SortBy::Pushed => Sort::Pushed,
        SortBy::Pulled => Sort::Pulled,
    };
    let is_ascending = (sort.default_order() == Order::Asc) != list.reverse;
    let order = if is_ascending { Order::Asc } else { Order::Desc };
    let search = list.search.clone();
    ListParameters { search, sort: Some(sort), order: Some(order), ..ListParameters::default() }
}
