//! The routes of a resource, with the paths and methods of their `#[utoipa::path]` descriptions.
//!
//! The rest of a description, from which the OpenAPI document is built, takes more code than the handlers themselves. So
//! only tests build the document, and check that the file `openapi.json`, which is served, is the same.

#[cfg(test)]
pub(super) use self::described::{Routes, into_router, routes};
#[cfg(not(test))]
pub(super) use self::plain::{Routes, add, into_router, routes};

#[cfg(not(test))]
mod plain {
    use std::sync::Arc;

    use axum::Router;
    use axum::handler::Handler;
    use axum::routing::{MethodFilter, MethodRouter};
    use utoipa::openapi::HttpMethod;

    use crate::http::api::Api;

    /// The handlers of a path.
    type PathRoutes = (String, MethodRouter<Arc<Api>>);

    /// The routes of a resource.
    #[derive(Default)]
    pub(in super::super) struct Routes(Router<Arc<Api>>);

    impl Routes {
        /// No routes.
        pub(in super::super) fn new() -> Self {
            Self::default()
        }

        /// Adds the handlers of a path.
        pub(in super::super) fn routes(self, (path, methods): PathRoutes) -> Self {
            Self(self.0.route(&path, methods))
        }

        /// Adds the routes of another resource.
        pub(in super::super) fn merge(self, others: Self) -> Self {
            Self(self.0.merge(others.0))
        }
    }

    /// Returns the axum router of these routes.
    pub(in super::super) fn into_router(routes: Routes) -> Router<Arc<Api>> {
        routes.0
    }

    /// Adds a handler to those of the same path. `D` is its description.
    pub(in super::super) fn add<D, H, T>((_, methods): PathRoutes, handler: &H) -> PathRoutes
    where
        D: utoipa::Path,
        H: Handler<T, Arc<Api>>,
        T: 'static,
    {
        let methods =
            D::methods().iter().fold(methods, |methods, method| methods.on(filter(method), handler.clone()));
        (D::path(), methods)
    }

    fn filter(method: &HttpMethod) -> MethodFilter {
        match method {
            HttpMethod::Get => MethodFilter::GET,
            HttpMethod::Put => MethodFilter::PUT,
            HttpMethod::Post => MethodFilter::POST,
            HttpMethod::Delete => MethodFilter::DELETE,
            HttpMethod::Options => MethodFilter::OPTIONS,
            HttpMethod::Head => MethodFilter::HEAD,
            HttpMethod::Patch => MethodFilter::PATCH,
            HttpMethod::Trace => MethodFilter::TRACE,
        }
    }

    /// The routes of handlers that share a path: `routes!(get, put)`.
    macro_rules! routes {
        ($($handler:ident),+) => {
            pastey::paste! {{
                let routes = (String::new(), axum::routing::MethodRouter::new());
                // The name that `#[utoipa::path]` gives to a description.
                $(let routes = $crate::http::api::routes::add::<[<__path_ $handler>], _, _>(routes, &$handler);)+
                routes
            }}
        };
    }
    pub(in super::super) use routes;
}

#[cfg(test)]
mod described {
    use std::sync::Arc;

    use axum::Router;
    use utoipa_axum::router::OpenApiRouter;

    use crate::http::api::Api;

    pub(in super::super) use utoipa_axum::routes;

    /// The routes of a resource, with their descriptions.
    pub(in super::super) type Routes = OpenApiRouter<Arc<Api>>;

    /// Returns the axum router of these routes.
    pub(in super::super) fn into_router(routes: Routes) -> Router<Arc<Api>> {
        routes.split_for_parts().0
    }
}
