//! Rejects query parameters that the OpenAPI document does not list, so that a misspelt one is not ignored.
//!
//! Extractors reject unknown parameters, but a handler without a query has no such extractor. So the check
//! runs before all handlers and uses the document itself: a new route cannot miss it.

use std::collections::HashMap;
use std::sync::Arc;

use axum::extract::{MatchedPath, Request, State};
use axum::middleware::Next;
use axum::response::Response;
use http::Method;
use utoipa::openapi::path::{Operation, ParameterIn, PathItem};
use utoipa::openapi::{OpenApi, RefOr};

use super::problem::Problem;
use crate::http::paths::API_ROOT;
use crate::http::query::Query;
use crate::traces;

/// The query parameters of each operation, by path and method.
pub(super) struct KnownParameters(HashMap<(String, Method), Vec<String>>);

impl KnownParameters {
    /// Collects the parameters from a document whose paths are below [`API_ROOT`].
    pub(super) fn of(document: &OpenApi) -> Self {
        let operations = document.paths.paths.iter().flat_map(|(path, item)| {
            let at =
                move |(method, operation)| ((format!("{API_ROOT}{path}"), method), parameters(operation));
            operations(item).map(at)
        });
        Self(operations.collect())
    }

    /// Rejects a query with an unknown parameter. Accepts any query for an unknown operation, which the
    /// router rejects.
    fn check(&self, path: &str, method: &Method, query: Query<'_>) -> Result<(), Problem> {
        // The router serves HEAD with the handler of GET.
        let method = if method == Method::HEAD { Method::GET } else { method.clone() };
        let Some(known) = self.0.get(&(path.to_owned(), method)) else {
            return Ok(());
        };
        let unknown = query.names().find(|name| !known.iter().any(|known| *known == **name));
        unknown.map_or(Ok(()), |name| Err(unknown_parameter(&name, known)))
    }
}

/// Middleware that rejects requests with unknown query parameters.
pub(super) async fn reject_unknown_parameters(
    State(known): State<Arc<KnownParameters>>,
    path: Option<MatchedPath>,
    request: Request,
    next: Next,
) -> Result<Response, Problem> {
    if let Some(path) = &path {
        traces::record_route(path.as_str());
    }
    if let (Some(path), Some(query)) = (path, request.uri().query()) {
        known.check(path.as_str(), request.method(), Query::new(Some(query)))?;
    }
    Ok(next.run(request).await)
}

fn operations(item: &PathItem) -> impl Iterator<Item = (Method, &Operation)> {
    let operations = [
        (Method::GET, &item.get),
        (Method::PUT, &item.put),
        (Method::POST, &item.post),
        (Method::DELETE, &item.delete),
        (Method::PATCH, &item.patch),
    ];
    operations.into_iter().filter_map(|(method, operation)| Some((method, operation.as_ref()?)))
}

fn parameters(operation: &Operation) -> Vec<String> {
    let named = operation.parameters.iter().flatten().filter_map(|parameter| match parameter {
        RefOr::T(parameter) if parameter.parameter_in == ParameterIn::Query => Some(parameter.name.clone()),
        _ => None,
    });
    named.collect()
}

fn unknown_parameter(name: &str, known: &[String]) -> Problem {
    let known: Vec<String> = known.iter().map(|name| format!("`{name}`")).collect();
    let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
    Problem::bad(format_args!("unknown parameter `{name}`; supported parameters: {known}"))
}
