//! A treemap: areas of sizes as rectangles that fill a picture, large ones first and nearly square (Bruls, Huizing and
//! van Wijk, "Squarified Treemaps", 2000).

/// A rectangle in the units of the picture.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Rectangle {
    pub(super) x: f64,
    pub(super) y: f64,
    pub(super) width: f64,
    pub(super) height: f64,
}

impl Rectangle {
    fn area(&self) -> f64 {
        self.width * self.height
    }
}

/// Divides `picture` among `sizes`, which must be sorted, largest first. Each rectangle has the share of the picture
/// that its size has of the sum. Sizes of 0 get an empty rectangle.
pub(super) fn treemap(sizes: &[u64], picture: Rectangle) -> Vec<Rectangle> {
    let total: f64 = sizes.iter().map(|size| as_f64(*size)).sum();
    if total <= 0.0 {
        return vec![Rectangle { width: 0.0, height: 0.0, ..picture }; sizes.len()];
    }
    let scale = picture.area() / total;
    let areas: Vec<f64> = sizes.iter().map(|size| as_f64(*size) * scale).collect();
    let mut rectangles = Vec::with_capacity(areas.len());
    let mut free = picture;
    let mut rest = &areas[..];
    while !rest.is_empty() {
        let (row, following) = rest.split_at(row_len(rest, free.width.min(free.height)));
        free = place_row(row, free, &mut rectangles);
        rest = following;
    }
    rectangles
}

/// The number of areas at the start of `areas` that form the next row along a side of this length: as many as make
/// their rectangles more square.
fn row_len(areas: &[f64], side: f64) -> usize {
    let mut len = 1;
    while len < areas.len() && worst_ratio(&areas[..=len], side) <= worst_ratio(&areas[..len], side) {
        len += 1;
    }
    len
}

/// The largest ratio of the sides of the rectangles in a row.
fn worst_ratio(row: &[f64], side: f64) -> f64 {
    let sum: f64 = row.iter().sum();
    let largest = row.first().copied().unwrap_or_default();
    let smallest = row.last().copied().unwrap_or_default();
    if smallest <= 0.0 || side <= 0.0 {
        // Empty rectangles join any row.
        return 0.0;
    }
    let square = side * side;
    (square * largest / (sum * sum)).max(sum * sum / (square * smallest))
}

/// Places a row along the shorter side of `free`, and returns the space that is left.
fn place_row(row: &[f64], free: Rectangle, rectangles: &mut Vec<Rectangle>) -> Rectangle {
    let sum: f64 = row.iter().sum();
    let is_wide = free.width >= free.height;
    let side = if is_wide { free.height } else { free.width };
    let depth = if side > 0.0 { sum / side } else { 0.0 };
    let mut offset = 0.0;
    for area in row {
        let length = if depth > 0.0 { area / depth } else { 0.0 };
        rectangles.push(if is_wide {
            Rectangle { x: free.x, y: free.y + offset, width: depth, height: length }
        } else {
            Rectangle { x: free.x + offset, y: free.y, width: length, height: depth }
        });
        offset += length;
    }
    if is_wide {
        Rectangle { x: free.x + depth, width: (free.width - depth).max(0.0), ..free }
    } else {
        Rectangle { y: free.y + depth, height: (free.height - depth).max(0.0), ..free }
    }
}

/// A number of bytes as a float. Pictures need no more digits than a float has.
#[expect(clippy::cast_precision_loss, reason = "a picture needs fewer digits")]
fn as_f64(size: u64) -> f64 {
    size as f64
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const PICTURE: Rectangle = Rectangle { x: 0.0, y: 0.0, width: 1000.0, height: 400.0 };

    fn overlap(a: &Rectangle, b: &Rectangle) -> f64 {
        let width = (a.x + a.width).min(b.x + b.width) - a.x.max(b.x);
        let height = (a.y + a.height).min(b.y + b.height) - a.y.max(b.y);
        width.max(0.0) * height.max(0.0)
    }

    proptest! {
        #[test]
        fn rectangles_have_their_share_and_do_not_overlap(
            mut sizes in proptest::collection::vec(0_u64..1 << 40, 1..60),
        ) {
            sizes.sort_unstable_by(|a, b| b.cmp(a));
            prop_assume!(sizes[0] > 0);
            let total: f64 = sizes.iter().map(|size| as_f64(*size)).sum();
            let found = treemap(&sizes, PICTURE);
            prop_assert_eq!(found.len(), sizes.len());
            for (rectangle, size) in found.iter().zip(&sizes) {
                let share = as_f64(*size) / total * PICTURE.area();
                prop_assert!((rectangle.area() - share).abs() < 1e-3, "{rectangle:?} {share}");
                prop_assert!(rectangle.x >= -1e-6 && rectangle.x + rectangle.width <= PICTURE.width + 1e-3);
                prop_assert!(rectangle.y >= -1e-6 && rectangle.y + rectangle.height <= PICTURE.height + 1e-3);
            }
            for (at, one) in found.iter().enumerate() {
                for other in &found[at + 1..] {
                    prop_assert!(overlap(one, other) < 1e-3, "{one:?} {other:?}");
                }
            }
        }
    }

    #[test]
    fn equal_sizes_are_nearly_square() {
        for rectangle in treemap(&[1; 10], PICTURE) {
            let ratio = (rectangle.width / rectangle.height).max(rectangle.height / rectangle.width);
            assert!(ratio < 2.0, "{rectangle:?}");
        }
    }

    #[test]
    fn nothing_has_an_empty_picture() {
        assert!(treemap(&[], PICTURE).is_empty());
        assert!(treemap(&[0, 0], PICTURE).iter().all(|rectangle| rectangle.area() == 0.0));
    }
}
