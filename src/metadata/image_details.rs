//! Stores details of images: once for each config, or for indexes and artifacts in the manifest's own row.

use crate::metadata::sql::{Connection, Row, digest, params};
use crate::metadata::{PushedDetails, sql};
use crate::oci::{DetailSelection, Digest, ImageDetails};
use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;

/// Image details for a manifest's row.
#[derive(Default)]
pub(in crate::metadata) struct ManifestDetails {
    /// Encoded digest of the config that describes the image.
    pub(in crate::metadata) config: Option<Vec<u8>>,
    /// Details from the manifest itself, as JSON.
    pub(in crate::metadata) details: Option<String>,
    /// Whether the manifest has further details that are not stored.
    pub(in crate::metadata) incomplete: bool,
}

impl ManifestDetails {
    /// Stores the details of a pushed image in the row of its config, and returns those for the manifest's row.
    pub(in crate::metadata) fn store(c: &dyn Connection, pushed: &PushedDetails) -> sql::Result<Self> {
        match pushed {
            PushedDetails::Own(details) => {
                let json = (!details.is_unknown()).then(|| to_json(details));
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

/// Stores the details from a config, unless they are stored already.
pub(in crate::metadata) fn store_config(
    c: &dyn Connection,
    config: &[u8],
    details: &ImageDetails,
) -> sql::Result<()> {
    let platforms = details.platforms.as_ref().map(|platforms| json!(platforms).to_string());
    let labels = details.labels.as_ref().map(|labels| json!(labels).to_string());
    c.prepare_cached(
        "INSERT INTO configs (digest, platforms, incomplete, labels) VALUES (?1, ?2, ?3, ?4)
         ON CONFLICT DO NOTHING",
    )?
    .execute(params![config, platforms, details.incomplete, labels])
    .map(drop)
}

/// Removes the details from a config whose blob is removed, if it is one.
pub(in crate::metadata) fn remove_config(c: &dyn Connection, config: &[u8]) -> sql::Result<()> {
    c.prepare_cached("DELETE FROM configs WHERE digest = ?1")?.execute([config]).map(drop)
}

/// Whether the details from a config are stored.
pub(in crate::metadata) fn is_recorded(c: &dyn Connection, config: &Digest) -> sql::Result<bool> {
    c.prepare_cached("SELECT 1 FROM configs WHERE digest = ?1")?.exists([digest(config)])
}

/// JSON of the details in a manifest's row.
#[derive(Deserialize, Default)]
struct RowDetails<'a> {
    #[serde(borrow, default)]
    platforms: Option<&'a RawValue>,
    #[serde(borrow, default)]
    labels: Option<&'a RawValue>,
}

pub(in crate::metadata) fn to_json(details: &ImageDetails) -> String {
    let mut json = serde_json::Map::new();
    if let Some(platforms) = &details.platforms {
        json.insert("platforms".into(), json!(platforms));
    }
    if let Some(labels) = &details.labels {
        json.insert("labels".into(), json!(labels));
    }
    serde_json::Value::Object(json).to_string()
}

/// Reads details from the JSON in a manifest's row. Details that can't be read are unknown.
pub(in crate::metadata) fn from_json(json: &str, selection: DetailSelection<'_>) -> ImageDetails {
    let RowDetails { platforms, labels } = serde_json::from_str(json).unwrap_or_default();
    ImageDetails::of_record(platforms.map(RawValue::get), labels.map(RawValue::get), selection)
}

/// Reads the platforms that a list shows for a manifest: those of its config, a JSON array in the column `config`, or
/// those in its own details in the column `own`.
pub(in crate::metadata) fn listed_platforms(
    row: Row<'_>,
    config: usize,
    own: usize,
) -> sql::Result<Option<Vec<String>>> {
    let config = row.text_or_null(config)?;
    let own = row.text_or_null(own)?;
    let details = match (config, own) {
        (Some(platforms), _) => ImageDetails::of_record(Some(platforms), None, DetailSelection::Stored),
        (None, Some(json)) => from_json(json, DetailSelection::Stored),
        (None, None) => ImageDetails::default(),
    };
    Ok(details.platforms)
}
