//! The recipe that a file of one's own gets: `datasets/csv`, and over it one of `rows/…` by the number of its training texts.
//! Small files need more and smaller steps. How it was chosen: docs/benchmarks.md.

/// What every file of one's own has beneath the configs that are named.
pub const OWN_RECIPE: &str = "datasets/csv";

/// Recipes by the most training texts they are for; above the last one [`OWN_RECIPE`] is as it is.
const BY_ROWS: [(usize, &str); 3] =
    [(2_000, "rows/to-2000"), (6_000, "rows/to-6000"), (20_000, "rows/to-20000")];

/// The recipe over [`OWN_RECIPE`] for so many training texts, and a note that says so; none where that one is as it is.
///
/// ```
/// let (recipe, note) = moelt_ablate::recipe_by_rows(2_001).expect("so few have one");
/// assert_eq!(recipe, "rows/to-6000");
/// assert_eq!(note, "2001 training texts: the recipe is datasets/csv with rows/to-6000 over it");
/// ```
pub fn recipe_by_rows(texts: usize) -> Option<(&'static str, String)> {
    let (_, recipe) = BY_ROWS.iter().find(|(most, _)| texts <= *most)?;
    Some((recipe, format!("{texts} training texts: the recipe is {OWN_RECIPE} with {recipe} over it")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recipe_follows_from_the_number_of_texts() {
        let recipe = |texts| recipe_by_rows(texts).map(|(recipe, _)| recipe);
        let recipes = [1, 2_000, 2_001, 20_000, 20_001].map(recipe);
        let expected = ["rows/to-2000", "rows/to-2000", "rows/to-6000", "rows/to-20000"].map(Some);
        assert_eq!((&recipes[..4], recipes[4]), (&expected[..], None));
    }
}
