//! Columns.

use crate::style::{heading, plain};

/// The names above columns.
pub fn header<const COLUMNS: usize>(names: [&str; COLUMNS]) -> [String; COLUMNS] {
    names.map(heading)
}

/// Rows under each other, indented by two: the first `left` columns begin at the same place, the others end there.
pub fn aligned<const COLUMNS: usize>(rows: &[[String; COLUMNS]], left: usize) -> String {
    let length = |cell: &str| plain(cell).chars().count(); // colours take no room
    let width = |column: usize| rows.iter().map(|row| length(&row[column])).max().unwrap_or(0);
    let widths: [usize; COLUMNS] = std::array::from_fn(width);
    let mut text = String::new();
    for row in rows {
        let mut line = String::from(" ");
        for (column, cell) in row.iter().enumerate() {
            let room = " ".repeat(widths[column] - length(cell));
            line += &if column < left { format!(" {cell}{room} ") } else { format!(" {room}{cell} ") };
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}
