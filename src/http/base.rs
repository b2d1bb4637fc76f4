//! `/v2/`: the base endpoint, by which clients check that this is a registry and that they may use it.

use http::StatusCode;

use super::reply::Reply;

pub(super) fn get() -> Reply {
    Reply::json(StatusCode::OK, &serde_json::Map::new())
}
