//! Queries have no parameters but those that the document names: a misspelt one must not look like none.
//!
//! Extractors see to that where there is one. A handler that takes no query has none, so it is done here, ahead
//! of all handlers and by the document itself: a new route cannot forget it.

use std::collections::HashMap;
use std::sync::Arc;

use axum::extract::{MatchedPath, Request, State};
use axum::middleware::Next;
use axum::response::Response;
use http::Method;
use utoipa::openapi::path::{Operation, ParameterIn, PathItem};
use utoipa::openapi::{OpenApi, RefOr};

use super::{Problem, ROOT};
use crate::http::query::Query;
use crate::traces;

/// The parameters of each operation's query, by path and method.
pub(super) struct Known(HashMap<(String, Method), Vec<String>>);

impl Known {
    /// Those of a document whose paths are below [`ROOT`].
    pub(super) fn of(document: &OpenApi) -> Self {
        let operations = document.paths.paths.iter().flat_map(|(path, item)| {
            let at = move |(method, operation)| ((format!("{ROOT}{path}"), method), parameters(operation));
            operations(item).map(at)
        });
        Self(operations.collect())
    }

    /// What is wrong with a query. Nothing where there is no such operation, which the router says.
    fn check(&self, path: &str, method: &Method, query: Query<'_>) -> Result<(), Problem> {
        // Whatever is got can be asked for without its body.
        let method = if method == Method::HEAD { Method::GET } else { method.clone() };
        let Some(known) = self.0.get(&(path.to_owned(), method)) else {
            return Ok(());
        };
        let unknown = query.names().find(|name| !known.iter().any(|known| *known == **name));
        unknown.map_or(Ok(()), |name| Err(refusal(&name, known)))
    }
}

/// Lets requests through whose queries say nothing unknown.
pub(super) async fn refuse_unknown(
    State(known): State<Arc<Known>>,
    path: Option<MatchedPath>,
    request: Request,
    next: Next,
) -> Result<Response, Problem> {
    if let Some(path) = &path {
        traces::note_route(path.as_str());
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

fn refusal(name: &str, known: &[String]) -> Problem {
    let known: Vec<String> = known.iter().map(|name| format!("`{name}`")).collect();
    let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
    Problem::bad(format_args!("there is no parameter `{name}` here; there are {known}"))
}
