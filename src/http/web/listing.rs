//! Lists in pages: their order, search and position are in the URL, so that a list can be linked and the browser's
//! buttons work.

use super::visitor::Visitor;
use crate::http::api::{ListParameters, Order, Problem, Sort};
use crate::http::query::encode;
use crate::metadata::{ListQuery, SortKey};

/// The number of items on a page.
const PAGE_ITEMS: u32 = 50;

/// A list on a page.
pub(super) struct Listing {
    path: String,
    /// The text that the items' names contain.
    pub(super) search: String,
    prefix: Option<String>,
    sort: Sort,
    order: Order,
    after: Option<String>,
    /// The cursor of the next page, once the items are known.
    pub(super) next: Option<String>,
}

impl Listing {
    /// The list that the query of a page asks for, sorted by `default` unless it says otherwise.
    pub(super) fn of(visitor: &Visitor, path: String, default: Sort) -> Result<Self, Problem> {
        let sort = match visitor.query("sort") {
            None => default,
            Some("name") => Sort::Name,
            Some("size") => Sort::Size,
            Some("pushed") => Sort::Pushed,
            Some("pulled") => Sort::Pulled,
            Some(other) => return Err(Problem::bad(format_args!("sort: there is no order {other:?}"))),
        };
        let order = match visitor.query("order") {
            None => sort.default_order(),
            Some("asc") => Order::Asc,
            Some("desc") => Order::Desc,
            Some(other) => {
                return Err(Problem::bad(format_args!("order: {other:?} is neither asc nor desc")));
            }
        };
        Ok(Self {
            path,
            search: visitor.query("search").unwrap_or_default().trim().to_owned(),
            prefix: visitor.query("prefix").map(str::to_owned),
            sort,
            order,
            after: visitor.query("after").map(str::to_owned),
            next: None,
        })
    }

    /// The query for the items.
    pub(super) fn query(&self) -> Result<ListQuery, Problem> {
        let parameters = ListParameters {
            prefix: self.prefix.clone(),
            search: Some(self.search.clone()).filter(|search| !search.is_empty()),
            sort: Some(self.sort),
            order: Some(self.order),
            limit: Some(PAGE_ITEMS),
            after: self.after.clone(),
        };
        parameters.query()
    }

    /// The key by which the items are sorted.
    pub(super) fn sort_key(&self) -> SortKey {
        self.query().map(|query| query.sort).unwrap_or_default()
    }

    /// The prefix of the items' names.
    pub(super) fn prefix(&self) -> &str {
        self.prefix.as_deref().unwrap_or_default()
    }

    /// Whether this is not the first page.
    pub(super) fn is_continued(&self) -> bool {
        self.after.is_some()
    }

    /// The name of the sort key in URLs.
    pub(super) fn sort_name(&self) -> &'static str {
        sort_name(self.sort)
    }

    /// The state of a column head for `aria-sort`.
    pub(super) fn aria_sort(&self, key: &str) -> &'static str {
        match self.order {
            _ if self.sort_name() != key => "none",
            Order::Asc => "ascending",
            Order::Desc => "descending",
        }
    }

    /// The arrow of a column head.
    pub(super) fn arrow(&self, key: &str) -> &'static str {
        match self.aria_sort(key) {
            "ascending" => " ↑",
            "descending" => " ↓",
            _ => "",
        }
    }

    /// The URL of the list sorted by `key`; in the other direction if it is sorted by it already.
    pub(super) fn sort_link(&self, key: &str) -> String {
        let order = match self.aria_sort(key) {
            "ascending" => Some("desc"),
            "descending" => Some("asc"),
            _ => None,
        };
        self.link(key, order, None)
    }

    /// The URL of the first page.
    pub(super) fn first_link(&self) -> String {
        self.link(self.sort_name(), Some(self.order_name()), None)
    }

    /// The URL of the next page, if there is one.
    pub(super) fn next_link(&self) -> Option<String> {
        let next = self.next.as_deref()?;
        Some(self.link(self.sort_name(), Some(self.order_name()), Some(next)))
    }

    fn order_name(&self) -> &'static str {
        match self.order {
            Order::Asc => "asc",
            Order::Desc => "desc",
        }
    }

    fn link(&self, sort: &str, order: Option<&str>, after: Option<&str>) -> String {
        let parameters = [
            ("prefix", self.prefix.as_deref()),
            ("search", Some(self.search.as_str())),
            ("sort", Some(sort)),
            ("order", order),
            ("after", after),
        ];
        let parameters = parameters.iter().filter_map(|(name, value)| {
            let value = value.filter(|value| !value.is_empty())?;
            Some(format!("{name}={}", encode(value)))
        });
        format!("{}?{}", self.path, parameters.collect::<Vec<_>>().join("&"))
    }
}

fn sort_name(sort: Sort) -> &'static str {
    match sort {
        Sort::Name => "name",
        Sort::Size => "size",
        Sort::Pushed => "pushed",
        Sort::Pulled => "pulled",
    }
}
