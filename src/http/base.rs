//! `/v2/`: is this a registry, and may I use it?

use http::StatusCode;

use super::reply::Reply;

pub(super) fn get() -> Reply {
    Reply::json(StatusCode::OK, &serde_json::Map::new())
}
