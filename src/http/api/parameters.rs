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
use serde::Deserialize;

use super::problem::Problem;
use crate::http::query::Query;
use crate::traces;

/// The query parameters of each operation, by path and method.
pub(super) struct KnownParameters(HashMap<(String, Method), Vec<String>>);

/// The part of an OpenAPI document that lists parameters.
#[derive(Deserialize)]
struct Document {
    paths: HashMap<String, HashMap<String, Operation>>,
}

#[derive(Deserialize)]
struct Operation {
    #[serde(default)]
    parameters: Vec<Parameter>,
}

#[derive(Deserialize)]
struct Parameter {
    name: String,
    r#in: String,
}

impl Operation {
    fn query_parameters(self) -> Vec<String> {
        let in_query = self.parameters.into_iter().filter(|parameter| parameter.r#in == "query");
        in_query.map(|parameter| parameter.name).collect()
    }
}

impl KnownParameters {
    /// Collects the parameters from the text of an OpenAPI document.
    pub(super) fn of(document: &str) -> Self {
        // The tests of the API fail without it.
        let Ok(Document { paths }) = serde_json::from_str(document) else {
            return Self(HashMap::new());
        };
        let operations = paths.into_iter().flat_map(|(path, operations)| {
            operations.into_iter().filter_map(move |(method, operation)| {
                let method = method.to_uppercase().parse().ok()?;
                Some(((path.clone(), method), operation.query_parameters()))
            })
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

fn unknown_parameter(name: &str, known: &[String]) -> Problem {
    let known: Vec<String> = known.iter().map(|name| format!("`{name}`")).collect();
    let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
    Problem::bad(format_args!("unknown parameter `{name}`; supported parameters: {known}"))
}
