//! Lists that come in pages.

use http::HeaderValue;

use super::call::Call;
use super::query::encode;
use super::reply::value;
use super::status::Refusal;
use crate::oci::{Endpoint, Page};

/// Which part of a list the request asks for.
pub(super) fn requested(call: &Call<'_>) -> Result<Page, Refusal> {
    let (n, last) = (call.query().get("n"), call.query().get("last"));
    Ok(Page::parse(n.as_deref(), last.as_deref(), call.state.settings.pages)?)
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
