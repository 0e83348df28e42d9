//! A refit: when a file of one's own has been trained on and judged, the same recipe on all of its texts, for the model that answers.
//! Nobody has judged it; what was judged is the recipe, on fewer texts.

use anyhow::ensure;
use moelt_data::Dataset;
use moelt_schema::{Budget, CellResult, CsvConfig, DataConfig, Digest, RunConfig, RunDir, StartConfig};

use super::words::percent;

/// The config of the refit.
///
/// # Errors
/// Why there is none.
pub(super) fn config(judged: &RunConfig, result: &CellResult) -> Result<RunConfig, String> {
    let whole = held_out(judged)?.whole();
    let mut config = RunConfig { data: DataConfig::Csv(whole), ..judged.clone() };
    if config.train.patience > 0 {
        // As many epochs as early stopping has left.
        let per_epoch = result.splits.train.div_ceil(config.train.batch_size);
        config.train.budget = Budget::Epochs(result.steps as f64 / per_epoch as f64);
        config.train.patience = 0;
    }
    Ok(config)
}

/// Refuses texts that have changed since the run that was judged on them, whose texts have the hash `judged_on`: the figures of
/// that run would be told of a model of other texts.
pub(super) fn check_texts(judged: &RunConfig, judged_on: Digest) -> anyhow::Result<()> {
    let found = judged.data.splits(&judged.text)?.digest();
    let file = judged.data.csv().map_or("the data set", |csv| csv.train.as_str());
    ensure!(
        found == judged_on,
        "{file}: has changed since its run began to train (hash {}…, now {}…), so that it is not trained again on all texts; put the file \
         back as it was and repeat the command, or train anew on this one with another --out",
        judged_on.short(),
        found.short()
    );
    Ok(())
}

/// What run and refit take together, where the run takes 1.
pub(super) fn overhead(judged: &RunConfig) -> f64 {
    held_out(judged).map_or(1.0, |csv| 1.0 + 1.0 / (1.0 - csv.held_out().iter().sum::<f64>()))
}

/// The file of a run that a refit makes sense for, or why it makes none.
fn held_out(judged: &RunConfig) -> Result<&CsvConfig, String> {
    let policy = &judged.control.policy;
    let csv = judged.data.csv().ok_or("they are not of a file of one's own")?;
    if csv.held_out() == [0.0; 2] {
        return Err("nothing is held out of them".to_owned());
    }
    if csv.stream.is_some() {
        return Err("data.csv.stream has them arrive one after another, and is judged meanwhile".to_owned());
    }
    if !policy.is_frozen() {
        return Err(format!("control.policy `{}` may need those that are held out", policy.name()));
    }
    if matches!(judged.start, StartConfig::Weights { .. }) {
        return Err("start.weights come with a vocabulary of other texts".to_owned());
    }
    Ok(csv)
}

/// What was done, what answers now, and what is known of the same checkpoint of the run that was judged.
pub(super) fn summary(again: &CellResult, judged: &CellResult, refit: &RunDir) -> String {
    let folder = refit.path().display();
    let last = if judged.last.step == judged.best_step || judged.test.n == 0 {
        String::new()
    } else {
        format!(
            "Its last checkpoint is used; in the run before, the last checkpoint had {} on the test.\n",
            percent(judged.last.test)
        )
    };
    format!(
        "Trained once more, on all {} texts: {:.0} s → {folder}\n`predict`, `export` and `eval --file` use this model.\n{last}",
        again.splits.train, again.seconds,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(csv: CsvConfig) -> RunConfig {
        RunConfig { data: DataConfig::Csv(csv), ..RunConfig::default() }
    }

    #[test]
    fn a_file_that_changes_before_the_refit_is_refused() -> anyhow::Result<()> {
        let folder = tempfile::tempdir()?;
        let file = folder.path().join("reviews.csv");
        let write = |word: &str| {
            let rows: String = (0..40).map(|i| format!("{word} {i},{}\n", ["neg", "pos"][i % 2])).collect();
            std::fs::write(&file, format!("text,label\n{rows}"))
        };
        write("film")?;
        let config = judged(CsvConfig { train: file.display().to_string(), ..CsvConfig::default() });
        let before = config.data.splits(&config.text)?.digest();
        check_texts(&config, before)?;
        write("book")?;
        let error = check_texts(&config, before).expect_err("other texts").to_string();
        assert!(error.contains("reviews.csv: has changed since its run began to train (hash "), "{error}");
        assert!(error.contains("put the file back") && error.contains("another --out"), "{error}");
        Ok(())
    }

    #[test]
    fn a_refit_takes_a_pass_over_all_texts_more() {
        let tenths = judged(CsvConfig::default());
        assert!((overhead(&tenths) - 2.25).abs() < 1e-9);
        let own = Some("held.csv".to_owned());
        let own_test = CsvConfig { test: own.clone(), ..CsvConfig::default() };
        assert!((overhead(&judged(own_test.clone())) - (1.0 + 1.0 / 0.9)).abs() < 1e-9);
        assert_eq!(overhead(&judged(CsvConfig { validation: own, ..own_test })), 1.0);
    }
}
