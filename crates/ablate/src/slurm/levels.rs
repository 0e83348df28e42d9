//! Which cells can be one array: those of a level of the graph.

use std::collections::BTreeSet;

use moelt_schema::Cell;

/// Cells of an array: as many as every cluster takes (Slurm's default `MaxArraySize` is 1001).
const MOST: usize = 1000;

/// One array job.
#[derive(Debug, PartialEq)]
pub(super) struct Array<'a> {
    /// In the order of their indices.
    pub(super) cells: Vec<&'a Cell>,
    /// Ids of cells that must have ended before the first of them starts.
    pub(super) waits_for: BTreeSet<&'a str>,
}

/// The arrays of those of the `open` cells that are not `queued` already, each after those it needs.
pub(super) fn arrays<'a>(open: &[&'a Cell], queued: impl Fn(&Cell) -> bool) -> Vec<Array<'a>> {
    let mut arrays = Vec::new();
    for level in levels(open) {
        let new: Vec<&Cell> = level.into_iter().filter(|cell| !queued(cell)).collect();
        let needs = || new.iter().flat_map(|cell| &cell.needs).map(String::as_str);
        // Of one level only one at a time, so that a throttle is one for all.
        let mut before = None;
        for cells in new.chunks(MOST) {
            arrays.push(Array { cells: cells.to_vec(), waits_for: needs().chain(before).collect() });
            before = Some(cells[0].id.as_str());
        }
    }
    arrays
}

/// Cells by levels, in their order: what a cell needs of them lies in earlier levels.
fn levels<'a>(cells: &[&'a Cell]) -> Vec<Vec<&'a Cell>> {
    let (mut rest, mut levels) = (cells.to_vec(), Vec::new());
    while !rest.is_empty() {
        let open: BTreeSet<&str> = rest.iter().map(|cell| cell.id.as_str()).collect();
        let waits = |cell: &&Cell| cell.needs.iter().any(|id| open.contains(id.as_str()));
        let (later, now): (Vec<_>, Vec<_>) = rest.into_iter().partition(waits);
        if now.is_empty() {
            // A circle, which no plan has: each of its cells is refused when it starts.
            levels.push(later);
            break;
        }
        levels.push(now);
        rest = later;
    }
    levels
}

#[cfg(test)]
mod tests {
    use moelt_schema::RunConfig;

    use super::*;

    /// A cell with this id that needs those.
    fn cell(id: &str, needs: &[&str]) -> Cell {
        let needs = needs.iter().map(|&id| id.to_owned()).collect();
        Cell { id: id.to_owned(), ..Cell::new(RunConfig::default()).after(needs) }
    }

    /// Ids of the arrays' cells, and of what each waits for.
    fn shown(cells: &[Cell], queued: &[&str]) -> Vec<(String, String)> {
        let cells: Vec<&Cell> = cells.iter().collect();
        let arrays = arrays(&cells, |cell| queued.contains(&cell.id.as_str()));
        let ids =
            |array: &Array| array.cells.iter().map(|cell| cell.id.as_str()).collect::<Vec<_>>().join(" ");
        let waits = |array: &Array| array.waits_for.iter().copied().collect::<Vec<_>>().join(" ");
        arrays.iter().map(|array| (ids(array), waits(array))).collect()
    }

    fn pairs(expected: &[(&str, &str)]) -> Vec<(String, String)> {
        expected.iter().map(|(cells, waits)| ((*cells).to_owned(), (*waits).to_owned())).collect()
    }

    fn graph() -> [Cell; 5] {
        [
            cell("matched", &["rule", "warm"]),
            cell("moe", &[]),
            cell("warm", &["rule"]),
            cell("rule", &[]),
            cell("placebo", &["rule"]),
        ]
    }

    #[test]
    fn a_cell_is_in_the_first_level_after_all_that_it_needs() {
        let expected = [("moe rule", ""), ("warm placebo", "rule"), ("matched", "rule warm")];
        assert_eq!(shown(&graph(), &[]), pairs(&expected));
    }

    #[test]
    fn what_is_finished_or_queued_is_no_part_of_an_array() {
        let finished = &graph()[..3];
        assert_eq!(shown(finished, &[]), pairs(&[("moe warm", "rule"), ("matched", "rule warm")]));
        let expected = [("moe", ""), ("warm placebo", "rule"), ("matched", "rule warm")];
        assert_eq!(shown(&graph(), &["rule"]), pairs(&expected));
        assert_eq!(shown(&graph(), &["moe", "rule", "warm", "placebo", "matched"]), []);
    }

    #[test]
    fn a_level_that_is_too_large_for_one_array_becomes_several_one_after_another() {
        let cells: Vec<Cell> = (0..2500).map(|n| cell(&format!("c{n}"), &[])).collect();
        let cells: Vec<&Cell> = cells.iter().collect();
        let arrays = arrays(&cells, |_| false);
        let shape: Vec<_> = arrays.iter().map(|array| (array.cells.len(), array.waits_for.clone())).collect();
        let after = |id| BTreeSet::from([id]);
        assert_eq!(shape, [(1000, BTreeSet::new()), (1000, after("c0")), (500, after("c1000"))]);
    }

    #[test]
    fn a_circle_comes_last() {
        let cells = [cell("a", &["b"]), cell("b", &["a"]), cell("c", &[])];
        assert_eq!(shown(&cells, &[]), pairs(&[("c", ""), ("a b", "a b")]));
    }
}
