//! Events of the store, such as those that background jobs record.

use axum::Json;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::{IntoParams, ToSchema};

use super::extract::InQuery;
use super::page::{PageParameters, newest_first_page};
use super::problem::Errors;
use super::rights::RegistryReader;
use super::routes::{Routes, routes};
use super::{Page, Problem, Time};
use crate::metadata::{Event, EventKind};

/// An event of the store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct StoreEvent {
    /// Its number; later events have larger numbers.
    pub id: i64,
    /// When it happened.
    pub at: Time,
    /// The kind of event.
    pub kind: EventKind,
    /// A description for people.
    pub message: String,
    /// The details, which depend on the kind.
    pub facts: Map<String, Value>,
}

/// Selects events.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct EventParameters {
    /// Only events of this kind.
    pub kind: Option<EventKind>,
    /// The maximum number of items; 100 by default.
    #[param(minimum = 1, maximum = 1000)]
    pub limit: Option<u32>,
    /// The `next` of the previous page, which was requested with the same kind.
    pub after: Option<String>,
}

impl From<Event> for StoreEvent {
    fn from(event: Event) -> Self {
        let (id, kind, message) = (event.id, event.details.kind(), event.details.to_string());
        let mut json = serde_json::to_value(&event.details).unwrap_or_default();
        let facts = match json["facts"].take() {
            Value::Object(facts) => facts,
            _ => Map::new(),
        };
        Self { id, at: event.at.into(), kind, message, facts }
    }
}

pub(super) fn routes() -> Routes {
    Routes::new().routes(routes!(list))
}

/// Lists the events of the store, newest first.
#[utoipa::path(
    get, path = "/events", operation_id = "listEvents", tag = "events",
    params(EventParameters),
    responses((status = OK, description = "A page of events.", body = Page<StoreEvent>), Errors)
)]
async fn list(
    registry_reader: RegistryReader,
    InQuery(EventParameters { kind, limit, after }): InQuery<EventParameters>,
) -> Result<Json<Page<StoreEvent>>, Problem> {
    let (before, limit) = PageParameters { limit, after }.read()?;
    let found = registry_reader.metadata().events(kind, before, limit).await?;
    Ok(Json(newest_first_page(found, |event| (event.id, event.into()))))
}
