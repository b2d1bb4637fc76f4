//! Lists that come in pages.

use std::str::FromStr;

use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::Problem;
use crate::http::sealed;
use crate::metadata::{self, Continuation, ListPage, ListQuery, Place, SortKey};

/// How many items a page has when the request does not say.
pub(super) const USUAL: u32 = 100;

/// The most items of a page.
pub const MOST_ITEMS: u32 = 1000;

/// A part of a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Page<T> {
    /// The items. They may be fewer than the limit, or none, though more follow: a page ends after about 1 MiB too, and
    /// after 10,000 entries that a search or a right passes over.
    pub items: Vec<T>,
    /// What to ask for the next page with, as `after`. `null` on the last one.
    #[schema(required)]
    pub next: Option<String>,
}

/// What a list is sorted by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Sort {
    /// The name, in byte order.
    #[default]
    Name,
    /// The bytes.
    Size,
    /// When it was last pushed.
    Pushed,
    /// When it was last pulled; what never was is the oldest.
    Pulled,
}

impl Sort {
    /// Which way a list is sorted where nothing is said.
    pub fn usual_order(self) -> Order {
        if self == Self::Name { Order::Asc } else { Order::Desc }
    }
}

/// Which way a list is sorted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Order {
    /// The smallest or oldest first.
    Asc,
    /// The largest or newest first.
    Desc,
}

/// Which part of a list, and how it is sorted.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ListParameters {
    /// Only repositories whose names begin with this.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prefix: Option<String>,
    /// Only names that have this somewhere in them, in letters of either case.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub search: Option<String>,
    /// What the list is sorted by; by name where nothing is said.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[param(inline)]
    pub sort: Option<Sort>,
    /// Which way: names up and the rest down where nothing is said.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[param(inline)]
    pub order: Option<Order>,
    /// How many items, 100 by default. A page may be shorter, or empty, though more follow.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[param(minimum = 1, maximum = 1000)]
    pub limit: Option<u32>,
    /// The `next` of the page before, which was asked for with the same `sort` and `order`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
}

/// Which part of a list that has one order alone.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct PageParameters {
    /// How many items, 100 where nothing is said.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[param(minimum = 1, maximum = 1000)]
    pub limit: Option<u32>,
    /// The `next` of the page before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
}

impl PageParameters {
    /// How many items are asked for.
    pub(super) fn limit(&self) -> Result<usize, Problem> {
        items(self.limit)
    }

    /// The place to begin behind, which was written by this list's pages.
    pub(super) fn after<T: FromStr>(&self) -> Result<Option<T>, Problem> {
        cursor(self.after.as_deref())
    }
}

/// Reads a place that was written by the page before.
pub(super) fn cursor<T: FromStr>(after: Option<&str>) -> Result<Option<T>, Problem> {
    let after = after.filter(|after| !after.is_empty()).map(str::parse).transpose();
    after.map_err(|_| Problem::bad("after: is not the next of a page of this list"))
}

impl ListParameters {
    /// What is asked of the store.
    pub(super) fn query(&self) -> Result<ListQuery, Problem> {
        let by = self.sort.unwrap_or_default();
        let sort = key(by);
        Ok(ListQuery {
            prefix: self.prefix.clone(),
            search: self.search.clone().filter(|text| !text.is_empty()),
            sort,
            descending: self.order.unwrap_or(by.usual_order()) == Order::Desc,
            after: self
                .after
                .as_deref()
                .filter(|after| !after.is_empty())
                .map(|after| place(after, sort))
                .transpose()?,
            limit: items(self.limit)?,
        })
    }
}

/// How many items a page is to have.
pub(super) fn items(limit: Option<u32>) -> Result<usize, Problem> {
    let limit = limit.unwrap_or(USUAL);
    if !(1..=MOST_ITEMS).contains(&limit) {
        return Err(Problem::bad(format_args!("limit: must be from 1 to {MOST_ITEMS}, not {limit}")));
    }
    Ok(limit as usize)
}

/// Which part of a list that has the newest first.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct RecentParameters {
    /// How many items, 100 where nothing is said.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[param(minimum = 1, maximum = 1000)]
    pub limit: Option<u32>,
    /// The `next` of the page before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
}

impl RecentParameters {
    /// The place to end before, and how many items there are to be.
    pub(super) fn read(&self) -> Result<(Option<i64>, usize), Problem> {
        let after = self.after.as_deref().filter(|after| !after.is_empty());
        let after = after.map(str::parse).transpose();
        Ok((after.map_err(|_| Problem::bad("after: is not the next of a page"))?, items(self.limit)?))
    }
}

/// The page of what was `found`, newest first: `describe` says the number of each and what it is.
pub(super) fn recent<E, T>(found: metadata::Page<E>, describe: impl Fn(E) -> (i64, T)) -> Page<T> {
    let mut last = None;
    let mut describe = |entry| {
        let (number, item) = describe(entry);
        last = Some(number);
        item
    };
    let items = found.items.into_iter().map(&mut describe).collect();
    Page { items, next: last.filter(|_| found.more).map(|number| number.to_string()) }
}

fn key(sort: Sort) -> SortKey {
    match sort {
        Sort::Name => SortKey::Name,
        Sort::Size => SortKey::Size,
        Sort::Pushed => SortKey::Pushed,
        Sort::Pulled => SortKey::Pulled,
    }
}

/// A cursor is the name or, in a list by another key, that key, a colon and the name; sealed, if the principal must not
/// know what is there.
fn place(after: &str, sort: SortKey) -> Result<Place, Problem> {
    if sealed::is_sealed(after) {
        let wrong = || Problem::bad("after: is not the next of a page of this list, or too old: start again");
        return plain_place(&sealed::open(after).ok_or_else(wrong)?, sort);
    }
    plain_place(after, sort)
}

fn plain_place(after: &str, sort: SortKey) -> Result<Place, Problem> {
    let (number, name) = match sort {
        SortKey::Name => (Some(0), after),
        _ => after.split_once(':').map_or((None, after), |(number, name)| (number.parse().ok(), name)),
    };
    let number = number.ok_or_else(|| Problem::bad("after: is not the next of a page in this order"))?;
    Ok(Place { number, name: name.to_owned() })
}

/// The page of what was `found` in a list of this order.
pub(super) fn page<E, T>(
    found: ListPage<E>,
    sort: SortKey,
    describe: impl Fn(E) -> T,
) -> Result<Page<T>, Problem> {
    let next = found.next.map(|next| cursor_text(next, sort)).transpose()?;
    Ok(Page { items: found.items.into_iter().map(describe).collect(), next })
}

fn cursor_text(next: Continuation, sort: SortKey) -> Result<String, Problem> {
    let Continuation { place: Place { number, name }, hidden } = next;
    let text = if sort == SortKey::Name { name } else { format!("{number}:{name}") };
    if hidden { sealed::seal(&text).ok_or_else(Problem::failed) } else { Ok(text) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_leads_behind_the_last_item() {
        let last = || Place { number: 8, name: "n8".into() };
        let found =
            |hidden| ListPage { items: vec![7, 8], next: Some(Continuation { place: last(), hidden }) };
        let next = |found, sort| page(found, sort, |number: i64| number).expect("a page").next;
        assert_eq!(next(found(false), SortKey::Name).as_deref(), Some("n8"));
        let behind = next(found(false), SortKey::Size).expect("there is more");
        assert_eq!(place(&behind, SortKey::Size), Ok(last()));
        assert_eq!(next(ListPage { next: None, ..found(false) }, SortKey::Size), None);
        let sealed = next(found(true), SortKey::Size).expect("there is more");
        assert!(!sealed.contains("n8"), "{sealed}");
        assert_eq!(place(&sealed, SortKey::Size), Ok(last()));
        assert_eq!(place("~00", SortKey::Name).map_err(|problem| problem.status), Err(400));
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        let of = |limit, after: Option<&str>| ListParameters {
            limit,
            after: after.map(str::to_owned),
            sort: Some(Sort::Pushed),
            ..ListParameters::default()
        };
        assert!(of(Some(1000), Some("1:a")).query().is_ok());
        assert_eq!(of(None, Some("")).query().map(|query| query.after), Ok(None));
        for wrong in [of(Some(0), None), of(Some(1001), None), of(None, Some("a")), of(None, Some("x:a"))] {
            assert_eq!(wrong.query().map_err(|problem| problem.status), Err(400), "{wrong:?}");
        }
    }
}
