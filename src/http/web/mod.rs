//! The web pages: what is stored, what fills the disk, and its management, for people with a browser.
//!
//! Pages are rendered on the server and work without JavaScript: they consist of links and plain forms. They read the
//! same reports and make the same changes as the API, with the same rights (`http/api/rights.rs`). A page shows nothing
//! that its visitor may not read.
//!
//! | file | purpose |
//! | --- | --- |
//! | `router` | the routes, the checks of every action, error pages |
//! | `visitor`, `chrome` | who views a page, and what every page shows |
//! | `form` | the fields of a form |
//! | `state` | what all pages share, and the description of an action |
//! | `page`, `notice` | renders templates, and redirects after an action |
//! | `reference` | references to repositories, tags and manifests in paths |
//! | `shown_once` | secrets that one page shows once |
//! | `assets` | style sheet, script and icon |
//! | `format` | sizes, times and digests as text |
//! | the others | one subject each, with its pages and actions |
//!
//! Every change is a POST below `/actions`, followed by a redirect. Its form has a token that is bound to the cookie of
//! the browser, so that no other site can make a browser send it (CSRF).
//!
//! Templates are in `templates/web`. They escape all text: annotations, labels, commands and names are untrusted.

mod activity;
mod adoption;
mod assets;
mod background;
mod browser_name;
mod chart;
mod chrome;
mod credentials;
mod form;
mod format;
mod kinds;
mod listing;
mod live;
mod live_streams;
mod manage;
mod manifest;
mod notice;
mod page;
mod people;
mod plans;
mod policies;
mod policy_editor;
mod policy_text;
mod profile;
mod reference;
mod repositories;
mod repository;
mod roles;
mod router;
mod search;
mod shown_once;
mod sign_in;
mod start;
mod state;
mod teams;
mod trash;
mod treemap;
mod untagged;
mod visitor;
mod why;

pub(super) use assets::{ASSETS, Assets};
pub(super) use page::{POLICY, is_local_path, refuse, sign_in_path};
pub use router::action_paths;
pub(super) use router::router;
