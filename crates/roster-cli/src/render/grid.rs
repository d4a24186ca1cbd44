//! Aligned columns without lines between them, so that they can be cut and searched.

use comfy_table::{Attribute, Cell, CellAlignment, ContentArrangement, Table, presets};

use super::paint::{Paint, Tone};

/// On which side the values of a column stand.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Side {
    /// Words.
    Left,
    /// Numbers.
    Right,
}

/// A table that grows by rows.
pub(crate) struct Grid {
    table: Table,
    sides: Vec<Side>,
    paint: Paint,
}

impl Grid {
    /// With these headings.
    pub(crate) fn new(paint: Paint, columns: &[(&str, Side)]) -> Self {
        let mut table = Table::new();
        table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
        let sides: Vec<Side> = columns.iter().map(|(_, side)| *side).collect();
        match paint {
            Paint::Colours => table.enforce_styling(),
            Paint::Plain => table.force_no_tty(),
        };
        let headings = columns.iter().map(|(heading, side)| {
            let cell = Cell::new(heading.to_uppercase()).set_alignment(alignment(*side));
            match paint {
                Paint::Colours => cell.add_attribute(Attribute::Bold),
                Paint::Plain => cell,
            }
        });
        table.set_header(headings.collect::<Vec<_>>());
        // A left edge as lines of text have it; the columns are kept apart on their right.
        for column in table.column_iter_mut() {
            column.set_padding((0, 2));
        }
        Self { table, sides, paint }
    }

    /// One more row; as many cells as there are columns.
    pub(crate) fn row(&mut self, cells: impl IntoIterator<Item = (String, Tone)>) {
        let paint = self.paint;
        let cells = cells.into_iter().zip(&self.sides).map(|((text, tone), side)| {
            let cell = Cell::new(text).set_alignment(alignment(*side));
            match paint.colour(tone) {
                Some(colour) => cell.fg(colour),
                None => cell,
            }
        });
        self.table.add_row(cells.collect::<Vec<_>>());
    }

    /// The lines, without blanks at their ends.
    pub(crate) fn lines(&self) -> String {
        let mut lines = String::new();
        for line in self.table.lines() {
            lines.push_str(line.trim_end());
            lines.push('\n');
        }
        lines
    }
}

fn alignment(side: Side) -> CellAlignment {
    match side {
        Side::Left => CellAlignment::Left,
        Side::Right => CellAlignment::Right,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_stand_left_and_numbers_right() {
        let mut grid = Grid::new(Paint::Plain, &[("service", Side::Left), ("up", Side::Right)]);
        grid.row([("orders".into(), Tone::Ordinary), ("12".into(), Tone::Good)]);
        grid.row([("a".into(), Tone::Ordinary), ("3".into(), Tone::Good)]);
        assert_eq!(grid.lines(), "SERVICE  UP\norders   12\na         3\n");
    }

    #[test]
    fn a_plain_table_has_no_escapes() {
        let mut grid = Grid::new(Paint::Plain, &[("a", Side::Left)]);
        grid.row([("b".into(), Tone::Bad)]);
        assert!(!grid.lines().contains('\x1b'));
    }
}
