//! Columns.

/// Rows under each other, indented by two: the first `left` columns begin at the same place, the others end there.
pub fn aligned<const COLUMNS: usize>(rows: &[[String; COLUMNS]], left: usize) -> String {
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: [usize; COLUMNS] = std::array::from_fn(width);
    let mut text = String::new();
    for row in rows {
        let mut line = String::from(" ");
        for (column, cell) in row.iter().enumerate() {
            let width = widths[column];
            line += &if column < left { format!(" {cell:<width$} ") } else { format!(" {cell:>width$} ") };
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}
