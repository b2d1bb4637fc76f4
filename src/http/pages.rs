//! Paginated lists: the requested page, the memory for it, and the `Link` to the next page.

use http::HeaderValue;

use super::access::Call;
use super::query::encode;
use super::reply::value;
use super::status::V2Error;
use crate::memory::{Purpose, Reservation};
use crate::oci::{Endpoint, Page};
use crate::registry::ServiceError;

/// The maximum memory that is reserved for a page. No page needs more, because the size of pages is limited.
const MAX_RESERVED_BYTES: usize = 4 << 20;

/// Parses the requested page from the parameters `n` and `last`.
pub(super) fn parse_page(call: &Call<'_>) -> Result<Page, V2Error> {
    let n = call.query().get("n");
    let last = call.query().get("last");
    Ok(Page::parse(n.as_deref(), last.as_deref(), call.settings().pages)?)
}

/// Reserves memory while a page is built. An entry takes about `entry_bytes`.
pub(super) async fn reserve(
    call: &Call<'_>,
    limit: usize,
    entry_bytes: usize,
) -> Result<Reservation, ServiceError> {
    let bytes = limit.saturating_mul(entry_bytes).min(MAX_RESERVED_BYTES);
    call.reserve(Purpose::Pages, bytes).await
}

/// The `Link` to the page after `last`. `filter` is a further parameter that the list was filtered by.
pub(super) fn next_link(
    call: &Call<'_>,
    list: &Endpoint,
    limit: usize,
    last: &str,
    filter: Option<(&str, &str)>,
) -> HeaderValue {
    let mut target = format!("{}?n={limit}&last={}", list.path(), encode(last));
    if let Some((name, text)) = filter {
        target.push_str(&format!("&{name}={}", encode(text)));
    }
    value(format!("<{}>; rel=\"next\"", call.settings().locate(target)))
}
