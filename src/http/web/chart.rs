//! Pictures of the disk usage, as SVG that templates write.

use std::cmp::Reverse;

use super::format::bytes;
use super::treemap::{Rectangle, treemap};
use crate::metadata::UsageDay;

/// The number of colours of repositories.
const COLOURS: usize = 8;

/// The most rectangles of repositories in a treemap; more would be too small to see.
const MAX_REPOSITORIES: usize = 30;

/// The smallest rectangle that is labelled.
const MIN_LABEL_WIDTH: f64 = 64.0;
const MIN_LABEL_HEIGHT: f64 = 26.0;

/// The height of a label with the size below the name.
const MIN_SIZE_HEIGHT: f64 = 44.0;

/// The usual width of a letter of a label.
const LETTER_WIDTH: f64 = 8.6;

/// The width of bars and lines, in the units of their pictures.
const WIDTH: u64 = 1000;

/// The height of the line of growth.
const GROWTH_HEIGHT: u64 = 160;

/// What an area of the disk usage is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum AreaKind {
    /// A repository; the number chooses its colour.
    Repository(usize),
    /// Blobs that several repositories share.
    Shared,
    /// What can be reclaimed.
    Removed,
    /// Anything else.
    Other,
}

/// An area of the disk usage.
#[derive(Debug, Clone)]
pub(super) struct Area {
    pub(super) name: String,
    pub(super) size: u64,
    kind: AreaKind,
}

impl Area {
    /// The exclusive bytes of a repository.
    pub(super) fn repository(at: usize, name: &str, size: u64) -> Self {
        Self { name: name.to_owned(), size, kind: AreaKind::Repository(at % COLOURS) }
    }

    /// Any other part.
    pub(super) fn part(name: &str, kind: AreaKind, size: u64) -> Self {
        Self { name: name.to_owned(), size, kind }
    }

    pub(super) fn is_repository(&self) -> bool {
        matches!(self.kind, AreaKind::Repository(_))
    }

    /// The class of the style sheet that colours it.
    pub(super) fn class(&self) -> String {
        match self.kind {
            AreaKind::Repository(colour) => format!("repository-{colour}"),
            AreaKind::Shared => "shared".to_owned(),
            AreaKind::Removed => "removed".to_owned(),
            AreaKind::Other => "other".to_owned(),
        }
    }
}

/// A labelled rectangle of a treemap.
pub(super) struct Tile {
    pub(super) area: Area,
    pub(super) x: String,
    pub(super) y: String,
    pub(super) width: String,
    pub(super) height: String,
    pub(super) text_x: String,
    pub(super) name_y: String,
    pub(super) size_y: String,
    /// The name, if there is space for it.
    pub(super) label: Option<String>,
    pub(super) has_size: bool,
}

/// A treemap of the disk usage.
pub(super) struct TreemapPicture {
    /// The class of the style sheet, for a width of the screen.
    pub(super) class: &'static str,
    pub(super) width: u32,
    pub(super) height: u32,
    pub(super) tiles: Vec<Tile>,
}

impl TreemapPicture {
    /// Draws all areas. The smallest repositories are drawn as one.
    pub(super) fn new(areas: &[Area], class: &'static str, width: u32, height: u32) -> Self {
        let mut drawn: Vec<Area> = areas.iter().filter(|area| !area.is_repository()).cloned().collect();
        let repositories: Vec<&Area> = areas.iter().filter(|area| area.is_repository()).collect();
        let (named, rest) = repositories.split_at(repositories.len().min(MAX_REPOSITORIES));
        drawn.extend(named.iter().copied().cloned());
        let others: u64 = rest.iter().map(|area| area.size).sum();
        if others > 0 {
            drawn.push(Area::part("Other repositories", AreaKind::Other, others));
        }
        drawn.sort_by_key(|area| Reverse(area.size));
        let sizes: Vec<u64> = drawn.iter().map(|area| area.size).collect();
        let picture = Rectangle { x: 0.0, y: 0.0, width: width.into(), height: height.into() };
        let rectangles = treemap(&sizes, picture);
        let tiles =
            drawn.into_iter().zip(rectangles).map(|(area, rectangle)| tile(area, rectangle)).collect();
        Self { class, width, height, tiles }
    }
}

fn tile(area: Area, Rectangle { x, y, width, height }: Rectangle) -> Tile {
    let number = |number: f64| format!("{number:.1}");
    Tile {
        label: label(&area, width, height),
        has_size: height >= MIN_SIZE_HEIGHT,
        area,
        x: number(x),
        y: number(y),
        width: number(width),
        height: number(height),
        text_x: number(x + 8.0),
        name_y: number(y + 19.0),
        size_y: number(y + 36.0),
    }
}

/// The name, truncated to fit. A repository keeps the end of its name, which differs within a namespace.
fn label(area: &Area, width: f64, height: f64) -> Option<String> {
    if width < MIN_LABEL_WIDTH || height < MIN_LABEL_HEIGHT {
        return None;
    }
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a number of letters")]
    let letters = ((width - 12.0) / LETTER_WIDTH) as usize;
    let len = area.name.chars().count();
    if len <= letters {
        return Some(area.name.clone());
    }
    Some(if area.is_repository() {
        let end: String = area.name.chars().skip(len + 1 - letters).collect();
        format!("…{end}")
    } else {
        let start: String = area.name.chars().take(letters - 1).collect();
        format!("{start}…")
    })
}

/// A part of a bar.
pub(super) struct Segment {
    pub(super) name: &'static str,
    pub(super) class: &'static str,
    pub(super) size: u64,
    pub(super) x: u64,
    pub(super) width: u64,
}

/// A bar that shows how full something is.
pub(super) struct Gauge {
    pub(super) total: u64,
    pub(super) segments: Vec<Segment>,
    /// Positions of marks on the bar.
    pub(super) marks: Vec<u64>,
}

impl Gauge {
    /// A bar of `total` bytes with these parts: a name, a class of the style sheet and bytes. The rest is free.
    pub(super) fn new(total: u64, parts: &[(&'static str, &'static str, u64)]) -> Self {
        let mut x = 0;
        let mut segments = Vec::new();
        let taken: u64 = parts.iter().map(|(_, _, size)| size).sum();
        let free = ("Free", "free", total.saturating_sub(taken));
        for (name, class, size) in parts.iter().copied().chain([free]) {
            // What is there is seen, however small it is.
            let width = scaled(size, total).max(u64::from(size > 0) * 2).min(WIDTH - x);
            segments.push(Segment { name, class, size, x, width });
            x += width;
        }
        Self { total, segments, marks: Vec::new() }
    }

    /// Also shows marks at these numbers of bytes.
    pub(super) fn with_marks(self, marks: &[u64]) -> Self {
        let marks = marks.iter().map(|mark| scaled(*mark, self.total)).collect();
        Self { marks, ..self }
    }
}

/// The growth of the last days, as a line.
pub(super) struct Growth {
    /// The corners of the line.
    pub(super) points: String,
    /// The growth since the first day that is shown, in words.
    pub(super) text: String,
    pub(super) first: u64,
    pub(super) last: u64,
}

impl Growth {
    /// Draws the days, oldest first. `None` if there are fewer than two.
    pub(super) fn new(days: &[UsageDay]) -> Option<Self> {
        let (first, last) = (days.first()?, days.last()?);
        let count = u64::try_from(last.day - first.day).ok().filter(|count| *count > 0)?;
        let most = days.iter().map(|day| day.allocated).max().filter(|most| *most > 0)?;
        let point = |day: &UsageDay| {
            let x = u64::try_from(day.day - first.day).unwrap_or_default() * WIDTH / count;
            let height = u128::from(day.allocated) * u128::from(GROWTH_HEIGHT - 20) / u128::from(most);
            format!("{x},{}", u128::from(GROWTH_HEIGHT - 10) - height)
        };
        let points = days.iter().map(point).collect::<Vec<_>>().join(" ");
        let change = bytes(last.allocated.abs_diff(first.allocated));
        let days = if count == 1 { "day".to_owned() } else { format!("{count} days") };
        let text = if last.allocated >= first.allocated {
            format!("{change} more than {days} ago")
        } else {
            format!("{change} less than {days} ago")
        };
        Some(Self { points, text, first: first.allocated, last: last.allocated })
    }
}

/// The share of `total` that `part` is, in units of a bar.
fn scaled(part: u64, total: u64) -> u64 {
    let scaled = u128::from(part) * u128::from(WIDTH) / u128::from(total.max(1));
    u64::try_from(scaled).unwrap_or(WIDTH).min(WIDTH)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_name_keeps_its_end() {
        let label = |name: &str, width, height| label(&Area::repository(0, name, 1), width, height);
        assert_eq!(label("team/app", 200.0, 50.0).as_deref(), Some("team/app"));
        assert_eq!(label("a-long-team-name/app", 80.0, 50.0).as_deref(), Some("…me/app"));
        assert_eq!(label("app", 10.0, 50.0), None);
    }

    #[test]
    fn a_gauge_is_full_and_shows_small_parts() {
        let gauge = Gauge::new(1 << 40, &[("a", "a", 1), ("b", "b", 1 << 39)]);
        let widths: Vec<u64> = gauge.segments.iter().map(|segment| segment.width).collect();
        assert_eq!(widths, [2, 500, 498]);
        assert_eq!(gauge.with_marks(&[1 << 39]).marks, [500]);
    }

    #[test]
    fn growth_needs_two_days() {
        let day = |day, allocated| UsageDay { day, blobs: 0, bytes: 0, allocated, manifests: 0 };
        assert!(Growth::new(&[day(1, 5)]).is_none());
        let growth = Growth::new(&[day(1, 0), day(11, 2_000_000)]).expect("a line");
        assert_eq!(growth.points, "0,150 1000,10");
        assert_eq!(growth.text, "2.0 MB more than 10 days ago");
    }
}
