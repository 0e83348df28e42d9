//! What the cells of a plan read beside their configs: files with examples, and runs that are no cells of the plan.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{MAIN_SEPARATOR, Path},
};

use anyhow::{Context, Result, bail, ensure};
use moelt_data::{Dataset, files_of};
use moelt_schema::{
    Cell, CsvConfig, DataConfig, Digest, EffectHeadConfig, OtherRun, RunDir, Takes, TextConfig,
};

use crate::Site;

/// What a checkpoint folder says about itself, the hashes of its other files included.
const MANIFEST: &str = "manifest.json";

/// The pointers of a folder of checkpoints, in the order in which a run looks for them.
const POINTERS: [&str; 2] = ["best", "latest"];

/// Hash of each file that `cells` are going to read, by its path from the site's root.
///
/// # Errors
/// When a file is not there: better told now than by each cell.
pub(super) fn digests(site: &Site, cells: &[Cell]) -> Result<BTreeMap<String, Digest>> {
    let mut files = BTreeSet::new();
    for cell in cells {
        files.extend(data_files(site, &cell.config.data)?);
        files.extend(taught_head(site, cell)?);
        for other in cell.foreign_runs() {
            let read = run_files(site, other);
            files.extend(read.with_context(|| format!("{} seed {}: {}", cell.arm, cell.seed, other.key))?);
        }
    }
    let digest = |file: String| Ok((file.clone(), site.digest(&file)?));
    files.into_iter().map(digest).collect()
}

/// The file of the taught head that a cell uses; the one that is shipped is part of the code.
fn taught_head(site: &Site, cell: &Cell) -> Result<Option<String>> {
    let named = cell.config.control.policy.taught().filter(|name| *name != EffectHeadConfig::SHIPPED);
    let Some(file) = named else { return Ok(None) };
    ensure!(
        site.root().join(file).is_file(),
        "control.policy.lookahead.head.taught: no file `{file}`{}; teach a head with `moelt control teach`, or take \
         `shipped`",
        site.paths_count()
    );
    Ok(Some(file.to_owned()))
}

/// What a cell reads of another run.
fn run_files(site: &Site, other: OtherRun<'_>) -> Result<Vec<String>> {
    let run = &other.run.to_string();
    let (result, log) = (shown(&RunDir::new(run).result()), shown(&RunDir::new(run).events()));
    let files = match other.takes {
        Takes::Checkpoint => return checkpoint_files(site, run),
        Takes::Edits | Takes::Flops => vec![result],
        Takes::Records => vec![result, log],
    };
    let missing = files.iter().find(|file| !site.root().join(file).is_file());
    missing.map_or(Ok(()), |file| {
        bail!("`{run}` is no finished run: there is no {file}{}", site.paths_count())
    })?;
    Ok(files)
}

/// What determines the checkpoint that a run starts from, which may be given as its folder, a pointer file, or the
/// folder of a run or of its checkpoints: the pointer on the way, and the manifest.
fn checkpoint_files(site: &Site, given: &str) -> Result<Vec<String>> {
    let is_file = |path: &Path| site.root().join(path).is_file();
    let manifest = Path::new(given).join(MANIFEST);
    if is_file(&manifest) {
        return Ok(vec![shown(&manifest)]);
    }
    let checkpoints = RunDir::new(given).checkpoints();
    let folder = if site.root().join(&checkpoints).is_dir() { checkpoints } else { given.into() };
    let pointers = POINTERS.map(|pointer| folder.join(pointer));
    let pointer = [Path::new(given).to_owned()].into_iter().chain(pointers).find(|path| is_file(path));
    let pointer = pointer
        .with_context(|| format!("`{given}` has no checkpoint to start from{}", site.paths_count()))?;
    let text = fs::read_to_string(site.root().join(&pointer)).with_context(|| shown(&pointer))?;
    let name = text.split_whitespace().next().unwrap_or_default();
    let manifest = pointer.with_file_name(name).join(MANIFEST);
    ensure!(is_file(&manifest), "{} names `{name}`, where there is no checkpoint", shown(&pointer));
    Ok(vec![shown(&pointer), shown(&manifest)])
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}

/// Reads files of one's own once, as each cell is going to. Returns what a reader of the results should know about them,
/// each note once.
///
/// # Errors
/// What is wrong with them: better told now than by each cell.
pub(super) fn check_texts(site: &Site, cells: &[Cell]) -> Result<Vec<String>> {
    let (mut seen, mut notes) = (Vec::new(), Vec::new());
    let root = format!("{}{}", site.root().display(), MAIN_SEPARATOR);
    for config in cells.iter().map(|cell| &cell.config) {
        let Some(csv) = config.data.csv() else { continue };
        if seen.contains(&(csv, &config.text)) {
            continue;
        }
        seen.push((csv, &config.text));
        check_held_out(csv)?;
        for note in DataConfig::Csv(in_root(site, csv)).splits(&config.text)?.notes {
            // As the config names files.
            let note = note.replace(&root, "");
            if !notes.contains(&note) {
                notes.push(note);
            }
        }
    }
    Ok(notes)
}

/// How many texts of a file of one's own are trained on.
///
/// # Errors
/// When it is not there, or what is wrong with it.
pub(super) fn n_train(site: &Site, csv: &CsvConfig, text: &TextConfig) -> Result<usize> {
    data_files(site, &DataConfig::Csv(csv.clone()))?;
    Ok(DataConfig::Csv(in_root(site, csv)).splits(text)?.train.len())
}

/// The same files from anywhere.
fn in_root(site: &Site, csv: &CsvConfig) -> CsvConfig {
    let path = |file: &String| shown(&site.root().join(file));
    let (validation, test) = (csv.validation.as_ref().map(path), csv.test.as_ref().map(path));
    CsvConfig { train: path(&csv.train), validation, test, ..csv.clone() }
}

/// Arms are chosen among by validation texts and judged by test texts.
fn check_held_out(csv: &CsvConfig) -> Result<()> {
    let [validation, test] = csv.held_out();
    ensure!(
        csv.validation.is_some() || validation > 0.0,
        "data.csv.validation_fraction: is 0, and an ablation chooses by validation texts"
    );
    ensure!(
        csv.test.is_some() || test > 0.0,
        "data.csv.test_fraction: is 0, and an ablation judges by test texts"
    );
    Ok(())
}

/// The files that a data set is read from, which must be there; paths from the site's root.
fn data_files(site: &Site, data: &DataConfig) -> Result<Vec<String>> {
    let files: Vec<String> = files_of(data).iter().map(|path| shown(path)).collect();
    let Some(file) = files.iter().find(|file| !site.root().join(file).is_file()) else { return Ok(files) };
    let paths_count = site.paths_count();
    match data {
        DataConfig::Sst2(sst2) => bail!(
            "{} has no train.tsv and dev.tsv; get them with: cargo xtask data sst2, or name \
             their folder with --set data.sst2.dir=DIR{paths_count}",
            sst2.dir
        ),
        _ => bail!("data.csv: no file `{file}`{paths_count}; give one with --set data.csv.train=FILE"),
    }
}
