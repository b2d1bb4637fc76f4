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
            Some("version") => Sort::Version,
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
        Sort::Version => "version",
    }
}

/// A list whose items are in memory, such as the users. Its search and position are in the URL.
pub(super) struct ShortList {
    path: String,
    /// The text that the items contain.
    pub(super) search: String,
    page: usize,
    /// The number of the next page, once the items are known.
    pub(super) next: Option<usize>,
}

impl ShortList {
    /// The list that the query of a page asks for.
    pub(super) fn of(visitor: &Visitor, path: impl Into<String>) -> Self {
        let page = visitor.query("page").and_then(|page| page.parse().ok()).unwrap_or(1);
        let search = visitor.query("search").unwrap_or_default().trim().to_owned();
        Self { path: path.into(), search, page, next: None }
    }

    /// Whether an item contains the text that the visitor searches for, in any case.
    pub(super) fn matches(&self, texts: &[&str]) -> bool {
        let wanted = self.search.to_lowercase();
        texts.iter().any(|text| text.to_lowercase().contains(&wanted))
    }

    /// The items of this page.
    pub(super) fn cut<T>(&mut self, items: impl IntoIterator<Item = T>) -> Vec<T> {
        let size = PAGE_ITEMS as usize;
        let mut items = items.into_iter().skip(self.page.saturating_sub(1).saturating_mul(size));
        let shown = items.by_ref().take(size).collect();
        self.next = items.next().map(|_| self.page.max(1) + 1);
        shown
    }

    /// Whether this is not the first page.
    pub(super) fn is_continued(&self) -> bool {
        self.page > 1
    }

    /// The URL of the first page.
    pub(super) fn first_link(&self) -> String {
        self.link(1)
    }

    /// The URL of the next page, if there is one.
    pub(super) fn next_link(&self) -> Option<String> {
        self.next.map(|page| self.link(page))
    }

    fn link(&self, page: usize) -> String {
        match self.search.as_str() {
            "" => format!("{}?page={page}", self.path),
            search => format!("{}?search={}&page={page}", self.path, encode(search)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(search: &str, page: usize) -> ShortList {
        ShortList { path: "/people".into(), search: search.into(), page, next: None }
    }

    #[test]
    fn items_in_memory_are_shown_in_pages() {
        let mut first = list("", 1);
        assert_eq!(first.cut(0..120), (0..50).collect::<Vec<_>>());
        assert_eq!(first.next_link().as_deref(), Some("/people?page=2"));
        let mut last = list("a&b", 3);
        assert_eq!(last.cut(0..120), (100..120).collect::<Vec<_>>());
        assert_eq!((last.is_continued(), last.next_link()), (true, None));
        assert_eq!(last.first_link(), "/people?search=a%26b&page=1");
        assert!(list("", usize::MAX).cut(0..120).is_empty());
        assert!(list("ANN", 1).matches(&["x", "joanna"]) && !list("ann", 1).matches(&["bob"]));
    }
}
