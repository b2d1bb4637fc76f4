//! Paged lists: parameters, cursors and pages.

use std::str::FromStr;

use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::Problem;
use crate::http::sealed_cursors;
use crate::metadata::{self, Continuation, ListPage, ListQuery, Place, SortKey};

/// The number of items in a page if the request sets no limit.
pub(super) const DEFAULT_PAGE_ITEMS: u32 = 100;

/// The maximum number of items in a page.
pub const MAX_PAGE_ITEMS: u32 = 1000;

/// A page of a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Page<T> {
    /// The items. There may be fewer than the limit, or none, although more follow: a page also ends after
    /// about 1 MiB, and after 10,000 entries that the search or the client's rights exclude.
    pub items: Vec<T>,
    /// The value of `after` for the next page; `null` on the last one.
    #[schema(required)]
    pub next: Option<String>,
}

/// The sort key of a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Sort {
    /// The name, in byte order.
    #[default]
    Name,
    /// The size in bytes.
    Size,
    /// The time of the last push.
    Pushed,
    /// The time of the last pull; items never pulled count as the oldest.
    Pulled,
    /// The version that a tag names: 1.9 comes before 1.10. Only for tags.
    Version,
}

impl Sort {
    /// The order used if the request sets none.
    pub fn default_order(self) -> Order {
        if self == Self::Name { Order::Asc } else { Order::Desc }
    }
}

/// The direction of a sort.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Order {
    /// Smallest or oldest first.
    Asc,
    /// Largest or newest first.
    Desc,
}

/// Selects a page of a list and its order.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ListParameters {
    /// Only repositories whose names begin with this prefix.
    pub prefix: Option<String>,
    /// Only names that contain this text, ignoring case.
    pub search: Option<String>,
    /// The sort key; `name` by default.
    #[param(inline)]
    pub sort: Option<Sort>,
    /// The direction; by default ascending for names and descending for the other keys.
    #[param(inline)]
    pub order: Option<Order>,
    /// The maximum number of items; 100 by default. A page may be shorter, or empty, although more items
    /// follow.
    #[param(minimum = 1, maximum = 1000)]
    pub limit: Option<u32>,
    /// The `next` of the previous page, which was requested with the same `sort` and `order`.
    pub after: Option<String>,
}

/// Selects a page of a list with a fixed order.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct PageParameters {
    /// The maximum number of items; 100 by default.
    #[param(minimum = 1, maximum = 1000)]
    pub limit: Option<u32>,
    /// The `next` of the previous page.
    pub after: Option<String>,
}

impl PageParameters {
    /// The requested page size.
    pub(super) fn limit(&self) -> Result<usize, Problem> {
        page_size(self.limit)
    }

    /// The item after which the page begins, from a previous page of this list.
    pub(super) fn after<T: FromStr>(&self) -> Result<Option<T>, Problem> {
        parse_cursor(self.after.as_deref())
    }

    /// In a list sorted newest first, the number of the item before which the page begins, and the page size.
    pub(super) fn read(&self) -> Result<(Option<i64>, usize), Problem> {
        Ok((self.after()?, self.limit()?))
    }
}

/// Parses the cursor of a previous page.
pub(super) fn parse_cursor<T: FromStr>(after: Option<&str>) -> Result<Option<T>, Problem> {
    let after = after.filter(|after| !after.is_empty()).map(str::parse).transpose();
    after.map_err(|_| Problem::bad("after: not the next value of a page of this list"))
}

impl ListParameters {
    /// The query to the metadata store.
    pub(in crate::http) fn query(&self) -> Result<ListQuery, Problem> {
        let by = self.sort.unwrap_or_default();
        let sort = sort_key(by);
        Ok(ListQuery {
            prefix: self.prefix.clone(),
            search: self.search.clone().filter(|text| !text.is_empty()),
            sort,
            descending: self.order.unwrap_or(by.default_order()) == Order::Desc,
            after: self
                .after
                .as_deref()
                .filter(|after| !after.is_empty())
                .map(|after| parse_place(after, sort))
                .transpose()?,
            limit: page_size(self.limit)?,
        })
    }
}

/// The page size for a requested limit, if it is in range.
pub(super) fn page_size(limit: Option<u32>) -> Result<usize, Problem> {
    let limit = limit.unwrap_or(DEFAULT_PAGE_ITEMS);
    if !(1..=MAX_PAGE_ITEMS).contains(&limit) {
        return Err(Problem::bad(format_args!("limit: must be from 1 to {MAX_PAGE_ITEMS}, not {limit}")));
    }
    Ok(limit as usize)
}

/// Builds a page of items sorted newest first. `describe` returns the number and the representation of an
/// item.
pub(super) fn newest_first_page<E, T>(found: metadata::Page<E>, describe: impl Fn(E) -> (i64, T)) -> Page<T> {
    let mut last = None;
    let mut describe = |entry| {
        let (number, item) = describe(entry);
        last = Some(number);
        item
    };
    let items = found.items.into_iter().map(&mut describe).collect();
    Page { items, next: last.filter(|_| found.more).map(|number| number.to_string()) }
}

fn sort_key(sort: Sort) -> SortKey {
    match sort {
        Sort::Name => SortKey::Name,
        Sort::Size => SortKey::Size,
        Sort::Pushed => SortKey::Pushed,
        Sort::Pulled => SortKey::Pulled,
        Sort::Version => SortKey::Version,
    }
}

/// Parses a cursor: the name or, in a list sorted by a number, that number, a colon and the name. It is
/// sealed if the client must not learn the name.
fn parse_place(after: &str, sort: SortKey) -> Result<Place, Problem> {
    if sealed_cursors::is_sealed(after) {
        let detail =
            "after: not the next value of a page of this list, or too old; start from the first page";
        let invalid = || Problem::bad(detail);
        return parse_plain_place(&sealed_cursors::open(after).ok_or_else(invalid)?, sort);
    }
    parse_plain_place(after, sort)
}

/// Parses the cursor of a list that is sorted by name.
pub(super) fn name_cursor(after: Option<&str>) -> Result<Option<String>, Problem> {
    let after = after.filter(|after| !after.is_empty()).map(|after| parse_place(after, SortKey::Name));
    Ok(after.transpose()?.map(|place| place.name))
}

fn parse_plain_place(after: &str, sort: SortKey) -> Result<Place, Problem> {
    let (number, name) = match sort {
        SortKey::Name | SortKey::Version => (Some(0), after),
        _ => after.split_once(':').map_or((None, after), |(number, name)| (number.parse().ok(), name)),
    };
    let number = number.ok_or_else(|| Problem::bad("after: not the next value of a page in this order"))?;
    Ok(Place { number, name: name.to_owned() })
}

/// Builds a page of a list that is sorted by `sort`.
pub(in crate::http) fn page<E, T>(
    found: ListPage<E>,
    sort: SortKey,
    describe: impl Fn(E) -> T,
) -> Result<Page<T>, Problem> {
    let next = found.next.map(|next| cursor_text(next, sort)).transpose()?;
    Ok(Page { items: found.items.into_iter().map(describe).collect(), next })
}

fn cursor_text(next: Continuation, sort: SortKey) -> Result<String, Problem> {
    let Continuation { place: Place { number, name }, hidden } = next;
    let text = match sort {
        SortKey::Name | SortKey::Version => name,
        SortKey::Size | SortKey::Pushed | SortKey::Pulled => format!("{number}:{name}"),
    };
    if hidden { sealed_cursors::seal(&text).ok_or_else(Problem::failed) } else { Ok(text) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cursor_continues_after_the_last_item() {
        let last = || Place { number: 8, name: "n8".into() };
        let found =
            |hidden| ListPage { items: vec![7, 8], next: Some(Continuation { place: last(), hidden }) };
        let next = |found, sort| page(found, sort, |number: i64| number).expect("a page").next;
        assert_eq!(next(found(false), SortKey::Name).as_deref(), Some("n8"));
        let cursor = next(found(false), SortKey::Size).expect("there is more");
        assert_eq!(parse_place(&cursor, SortKey::Size), Ok(last()));
        assert_eq!(next(ListPage { next: None, ..found(false) }, SortKey::Size), None);
        let sealed = next(found(true), SortKey::Size).expect("there is more");
        assert!(!sealed.contains("n8"), "{sealed}");
        assert_eq!(parse_place(&sealed, SortKey::Size), Ok(last()));
        assert_eq!(parse_place("~00", SortKey::Name).map_err(|problem| problem.status), Err(400));
    }

    #[test]
    fn rejects_invalid_limits_and_cursors() {
        let of = |limit, after: Option<&str>| ListParameters {
            limit,
            after: after.map(str::to_owned),
            sort: Some(Sort::Pushed),
            ..ListParameters::default()
        };
        assert!(of(Some(1000), Some("1:a")).query().is_ok());
        assert_eq!(of(None, Some("")).query().map(|query| query.after), Ok(None));
        for invalid in [of(Some(0), None), of(Some(1001), None), of(None, Some("a")), of(None, Some("x:a"))] {
            assert_eq!(invalid.query().map_err(|problem| problem.status), Err(400), "{invalid:?}");
        }
    }
}
