//! Lists that come in pages.

use std::str::FromStr;

use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::Problem;
use crate::metadata::{ListQuery, Place, SortKey};
use crate::registry;

/// How many items a page has when the request does not say.
const USUAL: u32 = 100;

/// The most items of a page.
pub const MOST_ITEMS: u32 = 1000;

/// A part of a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Page<T> {
    /// The items.
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
    /// How many items, 100 where nothing is said.
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

    /// The page of what was `found`, one more than asked for where there are more, of which `describe` tells
    /// the place of each.
    pub(super) fn page<E, T>(&self, mut found: Vec<E>, describe: impl Fn(E) -> (i64, T)) -> Page<T> {
        let limit = self.limit.unwrap_or(USUAL) as usize;
        let more = found.len() > limit;
        found.truncate(limit);
        let mut last = None;
        let mut describe = |entry| {
            let (place, item) = describe(entry);
            last = Some(place.to_string());
            item
        };
        let items = found.into_iter().map(&mut describe).collect();
        Page { items, next: last.filter(|_| more) }
    }
}

fn key(sort: Sort) -> SortKey {
    match sort {
        Sort::Name => SortKey::Name,
        Sort::Size => SortKey::Size,
        Sort::Pushed => SortKey::Pushed,
        Sort::Pulled => SortKey::Pulled,
    }
}

/// A cursor is the name or, in a list by another key, that key, a colon and the name.
fn place(after: &str, sort: SortKey) -> Result<Place, Problem> {
    let (number, name) = match sort {
        SortKey::Name => (Some(0), after),
        _ => after.split_once(':').map_or((None, after), |(number, name)| (number.parse().ok(), name)),
    };
    let number = number.ok_or_else(|| Problem::bad("after: is not the next of a page in this order"))?;
    Ok(Place { number, name: name.to_owned() })
}

/// The page of what was `found`, whose entries `describe` says at which place they are and what they are.
pub(super) fn page<E, T>(
    found: registry::Page<E>,
    sort: SortKey,
    describe: impl Fn(E, SortKey) -> (i64, String, T),
) -> Page<T> {
    let (mut items, mut last) = (Vec::with_capacity(found.items.len()), None);
    for entry in found.items {
        let (number, name, item) = describe(entry, sort);
        last = Some(if sort == SortKey::Name { name } else { format!("{number}:{name}") });
        items.push(item);
    }
    Page { items, next: last.filter(|_| found.more) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_leads_behind_the_last_item() {
        let found = || registry::Page { items: vec![7, 8], more: true };
        let describe = |number: i64, _| (number, format!("n{number}"), number);
        assert_eq!(page(found(), SortKey::Name, describe).next.as_deref(), Some("n8"));
        let next = page(found(), SortKey::Size, describe).next.expect("there is more");
        assert_eq!(place(&next, SortKey::Size), Ok(Place { number: 8, name: "n8".into() }));
        let last = registry::Page { more: false, ..found() };
        assert_eq!(page(last, SortKey::Size, describe).next, None);
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
