//! Config files: TOML tables laid over one another, with errors that name file, line and key.
//!
//! A file may name a `parent` (a path relative to itself) and then holds only what differs. Several
//! files are laid over one another from left to right; a parent that two of them share counts once.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

use serde::Deserialize;
use toml::{Table, Value, de::DeTable};

use super::{
    ConfigError, ConfigFiles, ConfigText, RunConfig, choice,
    error::shortened,
    meant::meant,
    model::{pretrained, vectors},
    renamed::renamed,
};

/// Loads `files` from disk, each over its parent and over the files before it, then `sets` (`key=value`), and
/// checks the result.
///
/// # Errors
/// When a file cannot be read, is not TOML, or sets something that does not exist or cannot work.
pub fn load_config(files: &[PathBuf], sets: &[String]) -> Result<RunConfig, ConfigError> {
    ConfigFiles::default().load(files, sets)
}

impl ConfigFiles {
    /// Loads `files`, paths or names, each over its parent and over the files before it, then `sets` (`key=value`), and
    /// checks the result.
    ///
    /// # Errors
    /// When a file cannot be read, is not TOML, or sets something that does not exist or cannot work.
    pub fn load(&self, files: &[PathBuf], sets: &[String]) -> Result<RunConfig, ConfigError> {
        let read = |path: &PathBuf| {
            self.read(path).map_err(|cause| ConfigError::Read { path: path.clone(), parent_of: None, cause })
        };
        self.load_texts(files.iter().map(read).collect::<Result<_, _>>()?, sets)
    }

    /// The same of files that were read already.
    ///
    /// # Errors
    /// When a parent cannot be read, a file is not TOML, or sets something that does not exist or cannot work.
    pub fn load_texts(&self, files: Vec<ConfigText>, sets: &[String]) -> Result<RunConfig, ConfigError> {
        let mut layers = self.layers(files)?;
        for set in sets {
            layers.add_set(set)?;
        }
        layers.finish()
    }

    /// The same for one arm of several that share `sets`: a set that is about another kind than the files choose, such
    /// as `control.policy.lookahead.horizon=50` where `control.policy` is `rule`, is left out. With the config comes
    /// whether each set was used.
    ///
    /// # Errors
    /// As [`Self::load_texts`].
    pub fn load_arm(
        &self,
        files: Vec<ConfigText>,
        sets: &[String],
    ) -> Result<(RunConfig, Vec<bool>), ConfigError> {
        let mut layers = self.layers(files)?;
        let mut used = Vec::new();
        for set in sets {
            let fits = layers.fits(set)?;
            if fits {
                layers.add_set(set)?;
            }
            used.push(fits);
        }
        Ok((layers.finish()?, used))
    }

    fn layers(&self, files: Vec<ConfigText>) -> Result<Layers, ConfigError> {
        let mut layers = Layers::default();
        for file in files {
            layers.add_file(self, file, &mut Vec::new())?;
        }
        Ok(layers)
    }
}

/// The config as TOML, every value written out.
pub fn resolved_toml(config: &RunConfig) -> String {
    toml::to_string(config).expect("a config is a table of plain values")
}

/// Where `theirs`, a resolved config as TOML, differs from `ours`: `` `optim.lr` is 0.1 there, 0.2 here ``.
///
/// # Errors
/// When it is not TOML; the message names the line.
pub fn config_differences(ours: &RunConfig, theirs: &str) -> Result<Vec<String>, String> {
    let values = |text: &str| -> Result<BTreeMap<String, String>, String> {
        let (mut values, table) = (BTreeMap::new(), toml::from_str(text).map_err(|e| e.to_string())?);
        flatten(&table, "", &mut values);
        Ok(values)
    };
    let (ours, theirs) = (values(&resolved_toml(ours))?, values(theirs)?);
    let keys: BTreeSet<&String> = ours.keys().chain(theirs.keys()).collect();
    let difference = |key: &String| {
        let [there, here] = [&theirs, &ours].map(|values| values.get(key).map_or("unset", String::as_str));
        (there != here).then(|| format!("`{key}` is {there} there, {here} here"))
    };
    Ok(keys.into_iter().filter_map(difference).collect())
}

/// Every value of a table as TOML, by dotted key.
fn flatten(table: &Table, prefix: &str, values: &mut BTreeMap<String, String>) {
    for (key, value) in table {
        match value {
            Value::Table(inner) if !inner.is_empty() => flatten(inner, &format!("{prefix}{key}."), values),
            value => {
                values.insert(format!("{prefix}{key}"), value.to_string());
            }
        }
    }
}

/// Tables merged so far, and where each key was last set.
#[derive(Default)]
struct Layers {
    table: Table,
    places: BTreeMap<String, String>,
    seen: Vec<PathBuf>,
}

impl Layers {
    fn add_file(
        &mut self,
        files: &ConfigFiles,
        file: ConfigText,
        chain: &mut Vec<PathBuf>,
    ) -> Result<(), ConfigError> {
        let ConfigText { shown, text, identity, .. } = &file;
        if chain.contains(identity) {
            return Err(ConfigError::Cycle(shown.clone()));
        }
        if self.seen.contains(identity) {
            return Ok(());
        }
        let syntax = |error| ConfigError::not_toml(shown, text, &error);
        let mut table: Table = toml::from_str(text).map_err(syntax)?;
        if let Some(parent) = table.remove("parent") {
            let Value::String(parent) = parent else {
                return Err(ConfigError::Key {
                    place: shown.display().to_string(),
                    key: "parent".into(),
                    message: "must be the path of another config file".into(),
                });
            };
            let parent = files.parent(&file, &parent).map_err(|(path, cause)| ConfigError::Read {
                path,
                parent_of: Some(shown.clone()),
                cause,
            })?;
            chain.push(identity.clone());
            self.add_file(files, parent, chain)?;
            chain.pop();
        }
        self.seen.push(identity.clone());
        let places = DeTable::parse(text).map_err(syntax)?.into_inner();
        note_places(&places, &LineEnds::of(text), shown, "", &mut self.places);
        merge(&mut self.table, table);
        Ok(())
    }

    fn add_set(&mut self, set: &str) -> Result<(), ConfigError> {
        let malformed = || ConfigError::Set(set.to_owned());
        let (key, value) = set.split_once('=').ok_or_else(malformed)?;
        let (key, value) = (key.trim(), value.trim());
        let parts: Vec<&str> = key.split('.').collect();
        if parts.iter().any(|part| part.is_empty()) {
            return Err(malformed());
        }
        // A value that is not one of TOML (a bare word, a path) is a string.
        let value = toml::from_str::<Table>(&format!("v = {value}"))
            .ok()
            .filter(|table| table.len() == 1)
            .and_then(|mut table| table.remove("v"))
            .unwrap_or_else(|| Value::String(value.to_owned()));
        self.check_kinds(set, &parts)?;
        self.note_set(set, &parts, &value);
        let table = parts
            .iter()
            .rev()
            .fold(value, |value, part| Value::Table(Table::from_iter([((*part).to_owned(), value)])));
        merge(&mut self.table, Table::from_iter(table.as_table().cloned().into_iter().flatten()));
        Ok(())
    }

    /// Where its key, every key within its value, and every value that becomes a table by it were set.
    fn note_set(&mut self, set: &str, parts: &[&str], value: &Value) {
        let place = format!("--set {set}");
        let mut table = Some(&self.table);
        for end in 1..parts.len() {
            let there = table.and_then(|table| table.get(parts[end - 1]));
            table = there.and_then(Value::as_table);
            if there.is_some() && table.is_none() {
                self.places.insert(parts[..end].join("."), place.clone());
            }
        }
        let key = parts.join(".");
        let mut within = BTreeMap::new();
        match value {
            Value::Table(inner) => flatten(inner, &format!("{key}."), &mut within),
            _ => self.places.retain(|place, _| !place.starts_with(&format!("{key}."))),
        }
        self.places.extend(within.into_keys().chain([key]).map(|key| (key, place.clone())));
    }

    /// Refuses a set of a parameter whose kind is not the one that was chosen: it would change the policy, say, of
    /// somebody who meant to change a number.
    fn check_kinds(&self, set: &str, parts: &[&str]) -> Result<(), ConfigError> {
        let mut table = Some(&self.table);
        for (at, part) in parts.iter().enumerate() {
            table = table.and_then(|table| table.get(*part)).and_then(Value::as_table);
            let (Some(kinds), Some(kind)) = (table, parts.get(at + 1)) else { continue };
            let other = kinds.keys().next().filter(|chosen| choice::is_choice(part) && chosen != kind);
            if let (Some(chosen), true) = (other, at + 2 < parts.len()) {
                let choice = parts[..=at].join(".");
                let place = self.place_of(&format!("{choice}.{chosen}"));
                let message = format!(
                    "`{choice}` is `{chosen}` ({place}), which has no such parameter; choose the kind first: --set \
                     {choice}={kind}"
                );
                return Err(ConfigError::Key {
                    place: format!("--set {set}"),
                    key: parts.join("."),
                    message,
                });
            }
        }
        Ok(())
    }

    /// Whether a set is about the kinds that are chosen so far, and the tables that they have.
    fn fits(&self, set: &str) -> Result<bool, ConfigError> {
        let key = set.split_once('=').map_or(set, |(key, _)| key.trim());
        let resolved = Table::try_from(self.config()?).expect("a config is a table of plain values");
        let (mut table, mut parts) = (Some(&resolved), key.split('.').peekable());
        let mut chosen = false;
        while let Some(part) = parts.next() {
            table = table.and_then(|table| table.get(part)).and_then(Value::as_table);
            chosen |= choice::is_choice(part);
            let lacks = |next: &&str| table.is_some_and(|table| !table.contains_key(*next));
            let is_table = parts.clone().nth(1).is_some() || choice::is_choice(part);
            if chosen && is_table && parts.peek().is_some_and(lacks) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// What the files and sets say so far, unchecked.
    fn config(&self) -> Result<RunConfig, ConfigError> {
        if let Some((key, name)) = renamed(&self.table) {
            let message = format!("is called {name} now");
            return Err(ConfigError::Key { place: self.place_of(key), key: key.to_owned(), message });
        }
        serde_path_to_error::deserialize(Value::Table(self.table.clone()))
            .map_err(|error| self.key_error(&error.path().to_string(), error.inner().message()))
    }

    fn finish(mut self) -> Result<RunConfig, ConfigError> {
        self.lay_files("model.pretrained", pretrained::lay_over)?;
        self.lay_files("model.vectors", vectors::lay_over)?;
        let config = self.config()?;
        config.check().map_err(|fault| self.key_error(&fault.key, &fault.message))?;
        Ok(config)
    }

    /// What files that a key of the `[model]` section names have to say about it: which they are, and the sizes of an encoder.
    fn lay_files(
        &mut self,
        key: &str,
        lay_over: fn(&Table) -> Result<Option<Table>, String>,
    ) -> Result<(), ConfigError> {
        let Some(Value::Table(model)) = self.table.get("model") else { return Ok(()) };
        let over = lay_over(model).map_err(|message| self.key_error(key, &message))?;
        if let Some(section) = over {
            let place = format!("{}, of what it names", self.place_of(key));
            let mut keys = BTreeMap::new();
            flatten(&section, "model.", &mut keys);
            self.places.extend(keys.into_keys().map(|key| (key, place.clone())));
            merge(&mut self.table, Table::from_iter([("model".to_owned(), Value::Table(section))]));
        }
        Ok(())
    }

    /// An error at `key`, or at the unknown field or kind of `key` that `message` quotes.
    fn key_error(&self, key: &str, message: &str) -> ConfigError {
        let unknown =
            ["unknown field `", "unknown variant `"].iter().find_map(|begin| message.strip_prefix(begin));
        let key = match unknown.and_then(|rest| rest.split('`').next()) {
            Some(field) if key == "." => field.to_owned(),
            Some(field) if key != field && !key.ends_with(&format!(".{field}")) => format!("{key}.{field}"),
            _ => key.to_owned(),
        };
        let message = message.replace("expected a boolean", "expected true or false");
        let message = format!("{}{}", shortened(&message), self.did_you_mean(&key, &message));
        ConfigError::Key { place: self.place_of(&key), key: shortened(&key), message }
    }

    /// Where `key`, or the innermost table around it that was set as a whole, was set.
    fn place_of(&self, key: &str) -> String {
        let outer = std::iter::successors(Some(key), |key| key.rsplit_once('.').map(|(outer, _)| outer));
        outer.filter_map(|key| self.places.get(key)).next().map_or("defaults", String::as_str).to_owned()
    }

    /// The key that may have been meant by one that is an unknown field: of those beside it, which `message` lists, and of the
    /// default config, as far as other kinds were not chosen.
    fn did_you_mean(&self, key: &str, message: &str) -> String {
        let unknown = message.strip_prefix("unknown field `");
        let Some((_, beside)) = unknown.and_then(|rest| rest.split_once("`, ")) else { return String::new() };
        let table = key.rsplit_once('.').map_or(String::new(), |(table, _)| format!("{table}."));
        let defaults = Table::try_from(RunConfig::default()).expect("a config is a table of plain values");
        let mut known = BTreeMap::new();
        flatten(&defaults, "", &mut known);
        let beside = beside.split('`').skip(1).step_by(2).map(|name| format!("{table}{name}"));
        let known = known.into_keys().filter(|known| choice::leaves_open(&self.table, known));
        let known: BTreeSet<String> = known.chain(beside).collect();
        meant(key, known.iter().map(String::as_str))
            .map_or(String::new(), |known| format!("; is `{known}` meant?"))
    }
}

/// Lays `over` over `base`: tables are merged, everything else replaced. Of a key that holds one of several kinds
/// only the same kind is merged.
fn merge(base: &mut Table, over: Table) {
    for (key, mut value) in over {
        if choice::is_choice(&key) {
            let (kept, laid) = choice::lay_over(base.remove(&key), value);
            base.extend(kept.map(|kept| (key.clone(), kept)));
            value = laid;
        }
        match (base.get_mut(&key), value) {
            (Some(Value::Table(base)), Value::Table(over)) => merge(base, over),
            (_, value) => {
                base.insert(key, value);
            }
        }
    }
}

/// Where the lines of a text end, found once: a file may have as many keys as lines.
struct LineEnds(Vec<usize>);

impl LineEnds {
    fn of(text: &str) -> Self {
        Self(text.match_indices('\n').map(|(at, _)| at).collect())
    }

    /// The line, from 1, of the byte at `at`.
    fn line_of(&self, at: usize) -> usize {
        1 + self.0.partition_point(|end| *end < at)
    }
}

/// Records `file:line` for every key of `table`.
fn note_places(
    table: &DeTable<'_>,
    lines: &LineEnds,
    file: &Path,
    prefix: &str,
    places: &mut BTreeMap<String, String>,
) {
    for (key, value) in table.iter() {
        let line = lines.line_of(key.span().start);
        let path = format!("{prefix}{}", key.get_ref());
        if let Some(inner) = value.get_ref().as_table() {
            note_places(inner, lines, file, &format!("{path}."), places);
        }
        places.insert(path, format!("{}:{line}", file.display()));
    }
}

/// Reads a resolved config back, such as `config.toml` of a run folder.
impl RunConfig {
    /// Parses a complete TOML text.
    ///
    /// # Errors
    /// When it is not a config; the message names line and key.
    pub fn from_toml(text: &str) -> Result<Self, String> {
        let deserializer = toml::Deserializer::parse(text).map_err(|e| e.to_string())?;
        Self::deserialize(deserializer).map_err(|e| e.to_string())
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::{CsvConfig, DataConfig, PolicyConfig, RoutingConfig, RuleConfig, RunRef, StartConfig};

    fn write(folder: &Path, name: &str, text: &str) -> PathBuf {
        let path = folder.join(name);
        fs::write(&path, text).unwrap();
        path
    }

    fn message(files: &[PathBuf], sets: &[&str]) -> String {
        let sets: Vec<String> = sets.iter().map(|s| (*s).to_owned()).collect();
        load_config(files, &sets).unwrap_err().to_string()
    }

    #[test]
    fn layers_lie_over_parents_and_a_shared_parent_counts_once() {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), "base.toml", "arm = \"base\"\n[model]\nd_model = 8\nd_ff = 9\n");
        let data = write(folder.path(), "data.toml", "parent = \"base.toml\"\n[model]\nd_model = 32\n");
        let phase = write(folder.path(), "dense.toml", "parent = \"base.toml\"\narm = \"dense\"\n");
        let config =
            load_config(&[data, phase], &["seed=3".into(), "data.csv.train=my file.csv".into()]).unwrap();
        assert_eq!((config.model.d_model, config.model.d_ff, config.seed), (32, 9, 3));
        let csv = CsvConfig { train: "my file.csv".into(), ..CsvConfig::default() };
        assert_eq!((config.arm.as_str(), config.data), ("dense", DataConfig::Csv(csv)));
    }

    #[test]
    fn errors_name_file_line_key_and_what_is_possible() {
        let folder = tempfile::tempdir().unwrap();
        let unknown = write(folder.path(), "a.toml", "seed = 1\n[model]\nd_modle = 3\n");
        let text = message(std::slice::from_ref(&unknown), &[]);
        assert!(text.contains("a.toml:3: `model.d_modle`: unknown field"), "{text}");
        assert!(text.contains("d_model"), "{text}");
        let wrong_type = write(folder.path(), "b.toml", "[optim]\nlr = \"fast\"\n");
        let text = message(&[wrong_type], &[]);
        assert!(text.contains("b.toml:2: `optim.lr`: invalid type"), "{text}");
        let range = write(folder.path(), "c.toml", "[model]\n\nrow_dropout = 1.5\n");
        let text = message(&[range], &[]);
        assert!(text.contains("c.toml:3: `model.row_dropout`: is 1.5"), "{text}");
        let syntax = write(folder.path(), "d.toml", "seed = = 1\n");
        assert!(message(&[syntax], &[]).contains("d.toml:1: "));
    }

    #[test]
    fn sets_are_checked_like_files() {
        let text = message(&[], &["model.top=1"]);
        assert!(text.contains("--set model.top=1: `model.top`: unknown field"), "{text}");
        assert!(message(&[], &["seed"]).contains("expected key=value"));
    }

    #[test]
    fn an_unknown_key_is_told_which_one_may_be_meant() {
        let text = message(&[], &["model.routing.top_k.k=2"]);
        assert!(
            text.starts_with("--set model.routing.top_k.k=2: `model.routing.top_k.k`: unknown"),
            "{text}"
        );
        assert!(text.ends_with("; is `model.top_k` meant?"), "{text}");
        assert!(message(&[], &["train.lr=1"]).ends_with("; is `optim.lr` meant?"));
        let typed = message(&[], &["control.policy.rule.confrim=3"]);
        assert!(typed.ends_with("; is `control.policy.rule.confirm` meant?"), "{typed}");
        assert!(!message(&[], &["model.mood=3"]).contains("meant"));
    }

    #[test]
    fn a_switch_is_true_or_false() {
        let text = message(&[], &["model.expert_choice=yes"]);
        let expected = "--set model.expert_choice=yes: `model.expert_choice`: invalid type: string \"yes\", expected true or false";
        assert_eq!(text, expected);
        let folder = tempfile::tempdir().unwrap();
        let file = write(folder.path(), "a.toml", "[model]\nexpert_choice = 1\n");
        let text = message(&[file], &[]);
        assert!(
            text.ends_with(
                "a.toml:2: `model.expert_choice`: invalid type: integer `1`, expected true or false"
            ),
            "{text}"
        );
    }

    #[test]
    fn the_place_of_a_value_is_where_it_was_set_last() {
        let folder = tempfile::tempdir().unwrap();
        let base = "[optim]\nlr = 0.1\n[model]\ntop_k = 2\n[train.budget]\nepochs = 3\n";
        let base = write(folder.path(), "base.toml", base);
        for set in ["optim={lr=-1.0}", "model.top_k.x=3", "train.budget=epochs"] {
            let text = message(std::slice::from_ref(&base), &[set]);
            assert!(text.starts_with(&format!("--set {set}: ")), "{text}");
        }
        assert!(message(&[], &["optim..lr=1"]).contains("expected key=value"));
        assert!(message(&[], &["optim.lr=1\nseed=3"]).contains("`optim.lr`: invalid type: string"));
    }

    #[test]
    fn missing_parents_and_cycles_are_named() {
        let folder = tempfile::tempdir().unwrap();
        let orphan = write(folder.path(), "orphan.toml", "parent = \"gone.toml\"\n");
        let text = message(&[orphan], &[]);
        assert!(text.contains("gone.toml") && text.contains("the parent of"), "{text}");
        let a = write(folder.path(), "a.toml", "parent = \"b.toml\"\n");
        write(folder.path(), "b.toml", "parent = \"a.toml\"\n");
        assert!(message(&[a], &[]).contains("is its own parent"));
    }

    #[test]
    fn differences_are_named_by_key_even_where_one_side_has_none() {
        let mut other = RunConfig::default();
        other.optim.lr = 0.5;
        other.start = StartConfig::Weights { run: RunRef::Folder("runs/mine".into()) };
        let differences = config_differences(&RunConfig::default(), &resolved_toml(&other)).unwrap();
        let expected = [
            "`optim.lr` is 0.5 there, 0.002 here",
            "`start.scratch` is unset there, {} here",
            "`start.weights.run` is \"runs/mine\" there, unset here",
        ];
        assert_eq!(differences, expected);
        assert!(config_differences(&other, "seed = = 1").unwrap_err().contains("line 1"));
    }

    #[test]
    fn a_resolved_config_reads_back() {
        let config = RunConfig { seed: 9, ..RunConfig::default() };
        assert_eq!(RunConfig::from_toml(&resolved_toml(&config)).unwrap(), config);
    }

    #[test]
    fn another_kind_starts_its_key_afresh_and_the_same_kind_goes_on() {
        let folder = tempfile::tempdir().unwrap();
        let base = "[model.routing.top_k]\nn_experts = 8\n[control.policy.lookahead]\nhorizon = 7\n";
        let base = write(folder.path(), "base.toml", base);
        let load = |over: &str| {
            let over = write(folder.path(), "over.toml", over);
            load_config(&[base.clone(), over], &[]).map_err(|error| error.to_string())
        };
        let kept = load("[control.policy.lookahead.head]\nhidden = 3\n").unwrap();
        assert_eq!(kept.model.routing, RoutingConfig::TopK { n_experts: 8 });
        let lookahead = kept.control.policy.lookahead().unwrap();
        assert_eq!((lookahead.horizon, lookahead.head.as_ref().unwrap().hidden), (7, 3));
        let other = load("[model]\nrouting = \"top_k\"\n[control]\npolicy = \"rule\"\n").unwrap();
        assert_eq!(other.model.routing, RoutingConfig::TopK { n_experts: 8 }, "the same kind");
        assert_eq!(other.control.policy, PolicyConfig::Rule(RuleConfig::default()));
        let both = load("[control.policy.rule]\n[control.policy.dynmoe]\n").unwrap_err();
        assert!(both.contains("beside another kind; keep one"), "{both}");
        let unread = load("[control.policy.rule]\nhorizon = 7\n").unwrap_err();
        assert!(unread.contains("over.toml:2: `control.policy.rule.horizon`: unknown field"), "{unread}");
        let deep = load("[control.policy.rule]\nconfirm = \"x\"\n").unwrap_err();
        assert!(deep.contains("over.toml:2: `control.policy.rule.confirm`: invalid type"), "{deep}");
        let missing = load("[control]\npolicy = \"placebo_time\"\n").unwrap_err();
        assert!(
            missing.contains("over.toml:2: `control.policy.placebo_time`: missing field `edits_of`"),
            "{missing}"
        );
    }

    #[test]
    fn names_of_earlier_versions_are_refused_with_todays() {
        let text = message(&[], &["control.horizon=40"]);
        let expected =
            "--set control.horizon=40: `control.horizon`: is called control.policy.lookahead.horizon now";
        assert_eq!(text, expected);
        let text = message(&[], &["data.kind=sst2"]);
        assert!(text.contains("`data.kind`: is called data, such as"), "{text}");
        assert!(message(&[], &["data.planted.verdict=3"]).contains("is called data.planted.test now"));
        assert!(
            message(&[], &["control.policy=head"]).contains("is called control.policy.lookahead.head or")
        );
        let folder = tempfile::tempdir().unwrap();
        let old = write(folder.path(), "old.toml", "[data]\nkind = \"csv\"\n[data.csv]\ntrain = \"x\"\n");
        let text = message(&[old], &[]);
        assert!(text.contains("old.toml:2: `data.kind`: is called data, such as"), "{text}");
        assert!(message(&[], &["control.policy=frozn"]).contains("`control.policy.frozn`: unknown variant"));
    }

    #[test]
    fn a_set_of_another_kind_than_the_one_chosen_is_refused_with_its_fix() {
        let folder = tempfile::tempdir().unwrap();
        let rule = write(folder.path(), "rule.toml", "arm = \"x\"\n[control.policy.rule]\nconfirm = 3\n");
        let files = [rule];
        let text = message(&files, &["control.policy.lookahead.horizon=9"]);
        assert!(text.contains("`control.policy` is `rule` (") && text.contains("rule.toml:2)"), "{text}");
        assert!(text.ends_with("choose the kind first: --set control.policy=lookahead"), "{text}");
        let sets = ["control.policy=lookahead", "control.policy.lookahead.horizon=9"].map(str::to_owned);
        let config = load_config(&files, &sets).unwrap();
        assert_eq!(config.control.policy.lookahead().unwrap().horizon, 9);
        let chosen = load_config(&[], &["data.csv.train=x.csv".to_owned()]).unwrap();
        assert!(matches!(chosen.data, DataConfig::Csv(_)), "no file chose another kind");
    }

    #[test]
    fn sets_of_another_kind_are_left_out_of_an_arm() {
        let folder = tempfile::tempdir().unwrap();
        let arm = |file: Option<PathBuf>, sets: &[String]| {
            let files = ConfigFiles::default();
            let texts = file.iter().map(|path| files.read(path).unwrap()).collect();
            files.load_arm(texts, sets)
        };
        let rule = write(folder.path(), "rule.toml", "[control]\npolicy = \"rule\"\n");
        let sets =
            ["control.policy.lookahead.horizon=9", "control.policy.rule.confirm=7", "control.edits.every=3"];
        let sets = sets.map(str::to_owned);
        let (config, used) = arm(Some(rule), &sets).unwrap();
        assert_eq!(used, [false, true, true]);
        let rule = RuleConfig { confirm: 7, ..RuleConfig::default() };
        assert_eq!((config.control.policy, config.control.edits.every), (PolicyConfig::Rule(rule), 3));
        let lookahead = write(folder.path(), "lookahead.toml", "[control]\npolicy = \"lookahead\"\n");
        let sets = ["control.policy.lookahead.head.hidden=9", "control.policy.lookahead.head={}"];
        let (config, used) = arm(Some(lookahead), &sets.map(str::to_owned)).unwrap();
        assert_eq!(used, [false, true], "a parameter of a head that the arm does not have");
        assert!(config.control.policy.lookahead().unwrap().head.is_some());
        let experts = ["model.routing.top_k.n_experts=8".to_owned(), "model.d_ff=3".to_owned()];
        assert_eq!(arm(None, &experts).unwrap().1, [true, true], "the default kind");
        assert!(arm(None, &["model.mood=3".to_owned()]).is_err());
    }
}
