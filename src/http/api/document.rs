//! The OpenAPI document, made from the handlers themselves when it is first asked for.

use std::sync::{Arc, OnceLock};

use axum::body::Bytes;
use axum::response::IntoResponse;
use http::header::CONTENT_TYPE;
use utoipa::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::access::Guest;
use super::problem::Refusals;
use super::{Api, Problem, ROOT, nouns};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Orlop",
        description = "What the registry protocol has no words for. Slashes in the name of a repository are \
                       written as %2F in a path. Errors are problem details, as RFC 9457 has them."
    ),
    components(schemas(Problem))
)]
struct Document;

pub(super) fn routes() -> OpenApiRouter<Arc<Api>> {
    OpenApiRouter::new().routes(routes!(get))
}

/// This document.
#[utoipa::path(
    get, path = "/openapi.json", operation_id = "getDocument", tag = "about",
    responses((status = OK, description = "An OpenAPI document.", body = Object), Refusals)
)]
async fn get(_: Guest) -> impl IntoResponse {
    static TEXT: OnceLock<Bytes> = OnceLock::new();
    let text = TEXT.get_or_init(|| document().to_json().unwrap_or_default().into());
    ([(CONTENT_TYPE, "application/json")], text.clone())
}

/// The whole description.
fn document() -> utoipa::openapi::OpenApi {
    let (_, described) = nouns().split_for_parts();
    Document::openapi().nest(ROOT, described)
}
