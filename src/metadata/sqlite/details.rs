//! What is recorded of images: of each config once, and of indexes and artifacts in the manifest's own row.

use rusqlite::{Connection, Row, params};
use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;

use super::codec::digest;
use crate::metadata::PushedDetails;
use crate::oci::{DetailSelection, Digest, ImageDetails};

/// What the row of a manifest holds of its image.
#[derive(Default)]
pub(super) struct OwnDetails {
    /// The config that describes it, as a digest.
    pub(super) config: Option<Vec<u8>>,
    /// What it says itself, as JSON.
    pub(super) details: Option<String>,
    /// Whether it says more than that.
    pub(super) incomplete: bool,
}

impl OwnDetails {
    /// Records what a push says of an image, as far as it is not in the manifest's row.
    pub(super) fn store(c: &Connection, pushed: &PushedDetails) -> rusqlite::Result<Self> {
        match pushed {
            PushedDetails::Own(details) => {
                let json = (!details.are_unknown()).then(|| to_json(details));
                Ok(Self { config: None, details: json, incomplete: details.incomplete })
            }
            PushedDetails::Config { digest: config, details } => {
                let config = digest(config);
                if let Some(details) = details {
                    store_config(c, &config, details)?;
                }
                Ok(Self { config: Some(config), ..Self::default() })
            }
        }
    }
}

/// Records what a config says, unless that is recorded.
pub(super) fn store_config(c: &Connection, config: &[u8], details: &ImageDetails) -> rusqlite::Result<()> {
    let platforms = details.platforms.as_ref().map(|platforms| json!(platforms).to_string());
    let labels = details.labels.as_ref().map(|labels| json!(labels).to_string());
    c.prepare_cached(
        "INSERT INTO configs (digest, platforms, incomplete, labels) VALUES (?1, ?2, ?3, ?4)
         ON CONFLICT DO NOTHING",
    )?
    .execute(params![config, platforms, details.incomplete, labels])
    .map(drop)
}

/// Whether it is recorded what the config says.
pub(super) fn is_recorded(c: &Connection, config: &Digest) -> rusqlite::Result<bool> {
    c.prepare_cached("SELECT 1 FROM configs WHERE digest = ?1")?.exists([digest(config)])
}

/// The details in a manifest's row.
#[derive(Deserialize, Default)]
struct RowDetails<'a> {
    #[serde(borrow, default)]
    platforms: Option<&'a RawValue>,
    #[serde(borrow, default)]
    labels: Option<&'a RawValue>,
}

pub(super) fn to_json(details: &ImageDetails) -> String {
    let mut json = serde_json::Map::new();
    if let Some(platforms) = &details.platforms {
        json.insert("platforms".into(), json!(platforms));
    }
    if let Some(labels) = &details.labels {
        json.insert("labels".into(), json!(labels));
    }
    serde_json::Value::Object(json).to_string()
}

/// Reads details as a manifest's row has them. What cannot be read is not known.
pub(super) fn of_json(json: &str, selection: DetailSelection<'_>) -> ImageDetails {
    let RowDetails { platforms, labels } = serde_json::from_str(json).unwrap_or_default();
    ImageDetails::of_record(platforms.map(RawValue::get), labels.map(RawValue::get), selection)
}

/// The platforms that a list shows of a manifest: those of its config, which the column `config` has as a JSON array,
/// or those in its own details, which the column `own` has.
pub(super) fn listed_platforms(
    row: &Row<'_>,
    config: usize,
    own: usize,
) -> rusqlite::Result<Option<Vec<String>>> {
    let config = row.get_ref(config)?.as_str_or_null()?;
    let own = row.get_ref(own)?.as_str_or_null()?;
    let details = match (config, own) {
        (Some(platforms), _) => ImageDetails::of_record(Some(platforms), None, DetailSelection::Stored),
        (None, Some(json)) => of_json(json, DetailSelection::Stored),
        (None, None) => ImageDetails::default(),
    };
    Ok(details.platforms)
}
