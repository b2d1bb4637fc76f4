//! `orlop repos` and `orlop tags`.

use std::process::ExitCode;

use super::args::{ListArgs, SortBy};
use super::table::{Table, print_json, short, size, when};
use super::{Failure, connect, exit_code, start};
use crate::config::Config;
use crate::http::api::{ListParameters, Order, Repository, Sort, Tag};
use crate::server::admin::path;

/// Lists repositories, optionally those whose names begin with `prefix`.
pub(super) fn repositories(
    config: &Config,
    prefix: Option<String>,
    list: &ListArgs,
) -> Result<ExitCode, Failure> {
    let parameters = ListParameters { prefix, ..parameters(list) };
    let found: Vec<Repository> =
        start()?.block_on(connect::list(config, &path(&["repositories"]), parameters, list.limit))?;
    if list.output.json {
        print_json(&found);
        return Ok(exit_code(true));
    }
    let mut table =
        Table::new(["REPOSITORY", ">TAGS", ">MANIFESTS", ">SIZE", "PUSHED (UTC)", "PULLED (UTC)"]);
    for repository in &found {
        table.row([
            repository.name.clone(),
            repository.tags.to_string(),
            repository.manifests.to_string(),
            size(repository.bytes),
            when(Some(repository.pushed_at)),
            when(repository.pulled_at),
        ]);
    }
    table.print();
    Ok(exit_code(true))
}

/// Lists the tags of `repository`.
pub(super) fn tags(config: &Config, repository: &str, list: &ListArgs) -> Result<ExitCode, Failure> {
    let path = path(&["repositories", repository, "tags"]);
    let found: Vec<Tag> = start()?.block_on(connect::list(config, &path, parameters(list), list.limit))?;
    if list.output.json {
        print_json(&found);
        return Ok(exit_code(true));
    }
    let mut table =
        Table::new(["TAG", ">SIZE", "PUSHED (UTC)", "PULLED (UTC)", "DIGEST", "PROTECTION", "PLATFORMS"]);
    for tag in &found {
        table.row([
            tag.name.clone(),
            size(tag.size),
            when(Some(tag.pushed_at)),
            when(tag.pulled_at),
            short(&tag.digest),
            protection(tag).into(),
            tag.platforms.join(", "),
        ]);
    }
    table.print();
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
    let order = match (sort.default_order(), list.reverse) {
        (Order::Asc, false) | (Order::Desc, true) => Order::Asc,
        (Order::Desc, false) | (Order::Asc, true) => Order::Desc,
    };
    let search = list.search.clone();
    ListParameters { search, sort: Some(sort), order: Some(order), ..ListParameters::default() }
}
