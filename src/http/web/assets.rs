//! Style sheet, script and icon, embedded in the binary. Their URLs contain a digest of their content, so that browsers
//! may keep them for ever.

use std::sync::LazyLock;

use axum::body::Body;
use axum::extract::Path;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderValue, Response, StatusCode};
use sha2::{Digest as _, Sha256};

use crate::http::api::Problem;
use crate::http::payload::Payload;
use crate::http::reply::{Reply, routed};

/// The number of hexadecimal digits of the digest in a URL.
const DIGEST_LEN: usize = 12;

/// A file that pages load.
pub(in crate::http) struct Asset {
    /// Its path on this server.
    pub(in crate::http) path: String,
    content: &'static [u8],
    media_type: &'static str,
}

/// All files that pages load.
pub(in crate::http) struct Assets {
    pub(in crate::http) style: Asset,
    pub(in crate::http) script: Asset,
    pub(in crate::http) icon: Asset,
}

/// The files that pages load.
pub(in crate::http) static ASSETS: LazyLock<Assets> = LazyLock::new(|| Assets {
    style: Asset::new("style", "css", "text/css; charset=utf-8", include_bytes!("assets/style.css")),
    script: Asset::new("script", "js", "text/javascript; charset=utf-8", include_bytes!("assets/script.js")),
    icon: Asset::new("icon", "svg", "image/svg+xml", include_bytes!("assets/icon.svg")),
});

impl Asset {
    fn new(name: &str, extension: &str, media_type: &'static str, content: &'static [u8]) -> Self {
        let mut digest = hex::encode(Sha256::digest(content));
        digest.truncate(DIGEST_LEN);
        Self { path: format!("/assets/{name}-{digest}.{extension}"), content, media_type }
    }
}

/// Sends a file. A file of another version does not exist: its page is older than this server.
pub(super) async fn get(Path(file): Path<String>) -> Result<Response<Body>, Problem> {
    let Assets { style, script, icon } = &*ASSETS;
    let wanted = format!("/assets/{file}");
    let Some(asset) = [style, script, icon].into_iter().find(|asset| asset.path == wanted) else {
        return Err(Problem::unknown("there is no such file"));
    };
    Ok(routed(
        Reply::new(StatusCode::OK)
            .with(CONTENT_TYPE, HeaderValue::from_static(asset.media_type))
            .with(CACHE_CONTROL, HeaderValue::from_static("public, max-age=31536000, immutable"))
            .body(Payload::Whole(asset.content.into())),
    ))
}
