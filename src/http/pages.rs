//! Lists that come in pages.

use http::HeaderValue;

use super::call::Call;
use super::query::encode;
use super::reply::value;
use super::status::V2Error;
use crate::auth::Principal;
use crate::memory::{Holder, Purpose, Reservation};
use crate::oci::{Endpoint, Page};
use crate::registry::ServiceError;

/// The most memory that is reserved for a page: pages are weighed.
const MAX_ROOM: usize = 4 << 20;

/// Which part of a list the request asks for.
pub(super) fn requested(call: &Call<'_>) -> Result<Page, V2Error> {
    let (n, last) = (call.query().get("n"), call.query().get("last"));
    Ok(Page::parse(n.as_deref(), last.as_deref(), call.state.settings.pages)?)
}

/// Reserves memory for a page, as long as it is built. An entry takes about `entry_bytes`.
pub(super) async fn reserve(
    call: &Call<'_>,
    limit: usize,
    entry_bytes: usize,
) -> Result<Reservation, ServiceError> {
    let is_known = call.principal != Principal::Anonymous || call.state.access_control.is_open();
    let holder = if is_known { Holder::Authenticated } else { Holder::Anonymous };
    let bytes = limit.saturating_mul(entry_bytes).min(MAX_ROOM);
    Ok(call.state.registry.memory().reserve(holder, Purpose::Pages, bytes).await?)
}

/// The `Link` to the page behind `last`, where the list is `filter`ed by one more parameter or not.
pub(super) fn next(
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
    value(format!("<{}>; rel=\"next\"", call.state.settings.locate(target)))
}
