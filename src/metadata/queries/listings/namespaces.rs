//! Lists the names directly below a prefix, for a tree of repositories.
//!
//! Names are found one after the other in the index of names, and everything below a name is skipped at once. In the
//! order of names, `team-a` comes between `team` and `team/app`: a name that is a repository is listed where it comes
//! itself, and any other where the first repository below it comes.

use crate::metadata::queries::listings::repositories::NAMES_UP;
use crate::metadata::queries::listings::walk::Walk;
use crate::metadata::sql::{Connection, params};
use crate::metadata::{Count, ListPage, MAX_EXAMINED, NameRange, NamespaceEntry, Place, Visible, sql};
use crate::oci::RepoName;

/// The number up to which the repositories below a name are counted.
const MAX_COUNTED: usize = 1_000;

/// A position after everything below a name. No character of a name sorts after it.
const BELOW: &str = "/~";

/// Reads a page of the names directly below `parent` (below nothing: the first segments of all names).
pub(in crate::metadata) fn namespaces_page(
    c: &dyn Connection,
    parent: Option<&RepoName>,
    after: Option<&str>,
    limit: usize,
    visible: &Visible,
) -> sql::Result<ListPage<NamespaceEntry>> {
    let prefix = parent.map(|parent| format!("{parent}/")).unwrap_or_default();
    let mut names = Names { c, visible: visible.within(&NameRange::prefix(&prefix)), left: MAX_EXAMINED };
    let mut walk = Walk::new(limit);
    let mut after = after.map(str::to_owned);
    while !walk.has_ended() {
        let found = match names.next(&prefix, after.as_deref())? {
            Next::Found(name) => name,
            Next::End => break,
            Next::Exhausted(place) => {
                walk.end_at_hidden(Place { number: 0, name: place });
                break;
            }
        };
        let rest = found.as_str().get(prefix.len()..).unwrap_or_default();
        let place = match rest.split_once('/') {
            None => {
                let below = names.count_below(found.as_str())?;
                let name = found.as_str().to_owned();
                add(&mut walk, &name, NamespaceEntry { name: found, is_repository: true, below });
                name
            }
            Some((segment, _)) => {
                let name = format!("{prefix}{segment}");
                let place = format!("{name}{BELOW}");
                // A repository was listed already, before everything below it.
                if let Ok(name) = name.parse::<RepoName>()
                    && !names.is_repository(&name)?
                {
                    let below = names.count_below(name.as_str())?;
                    add(&mut walk, &place, NamespaceEntry { name, is_repository: false, below });
                }
                place
            }
        };
        after = Some(place);
    }
    Ok(walk.finish())
}

fn add(walk: &mut Walk<NamespaceEntry>, place: &str, entry: NamespaceEntry) {
    let weight = 64 + 2 * entry.name.as_str().len();
    walk.add(Place { number: 0, name: place.to_owned() }, entry, weight);
}

/// The next visible name.
enum Next {
    Found(RepoName),
    End,
    /// So many rows were read that the page must end after this one, which may be invisible.
    Exhausted(String),
}

/// The visible names, of which only a limited number is read.
struct Names<'c> {
    c: &'c dyn Connection,
    visible: Visible,
    left: usize,
}

impl Names<'_> {
    fn next(&mut self, prefix: &str, after: Option<&str>) -> sql::Result<Next> {
        let start = after.map_or_else(|| prefix.to_owned(), |after| format!("{after}\0"));
        let mut query = self.c.prepare_cached(NAMES_UP)?;
        for range in self.visible.search_ranges() {
            let from = range.start().max(start.as_str());
            if from >= range.end() {
                continue;
            }
            let mut rows = query.query(params![from, range.end(), self.left.saturating_add(1)])?;
            while let Some(row) = rows.next()? {
                let name: RepoName = row.get(1)?;
                if self.visible.shows(&name) {
                    self.left = self.left.saturating_sub(1);
                    return Ok(Next::Found(name));
                }
                if self.left == 0 {
                    return Ok(Next::Exhausted(name.to_string()));
                }
                self.left -= 1;
            }
            // Even an empty range costs a lookup.
            if self.left == 0 {
                return Ok(Next::Exhausted(range.end().to_owned()));
            }
            self.left -= 1;
        }
        Ok(Next::End)
    }

    /// Counts the visible repositories below a name.
    fn count_below(&mut self, name: &str) -> sql::Result<Count> {
        let below = self.visible.within(&NameRange::prefix(&format!("{name}/")));
        let mut query = self.c.prepare_cached(NAMES_UP)?;
        let mut count = Count::default();
        let mut examined = 0;
        for range in below.search_ranges() {
            let mut rows = query.query(params![range.start(), range.end(), MAX_COUNTED + 1])?;
            while let Some(row) = rows.next()? {
                if examined >= MAX_COUNTED || self.left == 0 {
                    return Ok(Count { more: true, ..count });
                }
                examined += 1;
                self.left -= 1;
                if below.shows(&row.get(1)?) {
                    count.number += 1;
                }
            }
        }
        Ok(count)
    }

    fn is_repository(&self, name: &RepoName) -> sql::Result<bool> {
        let mut query = self.c.prepare_cached("SELECT 1 FROM repositories WHERE name = ?1 AND live > 0")?;
        Ok(self.visible.shows(name) && query.exists([name.as_str()])?)
    }
}
