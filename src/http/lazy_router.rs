//! A router that is built on the first request for it: its routes take memory that many registries never need.

use std::sync::{Arc, LazyLock};

use axum::Router;

type Build = Box<dyn FnOnce() -> Router + Send>;

/// A router that is built when it is first needed.
#[derive(Clone)]
pub(super) struct LazyRouter(Arc<LazyLock<Router, Build>>);

impl LazyRouter {
    /// A router that `build` builds.
    pub(super) fn new(build: impl FnOnce() -> Router + Send + 'static) -> Self {
        Self(Arc::new(LazyLock::new(Box::new(build))))
    }

    /// The router.
    pub(super) fn get(&self) -> &Router {
        &self.0
    }
}
