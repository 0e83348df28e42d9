//! Domains of a file arrive one after another; experts come with them and are frozen.

#![allow(clippy::unwrap_used)] // a test that cannot go on should stop

mod support;

use std::{fs, path::Path};

use burn::tensor::Device;
use moelt_optim::export;
use moelt_schema::{
    ArrivalConfig, AssignedBy, CsvConfig, DataConfig, ExpertId, KnownBy, PolicyConfig, RoutingConfig,
    RunConfig, RunDir, StreamKind,
};
use moelt_train::{CheckpointStore, LoadedModel};
use support::{FROZEN, config, finish, interrupt};
use tempfile::TempDir;

/// Three domains with words of their own, two classes, 100 texts each.
fn texts(folder: &Path) -> String {
    let rows = ["tea", "art", "dusk"].into_iter().flat_map(|domain| {
        (0..100).map(move |i| {
            format!("{domain}{} {domain}{domain}{i},{},{domain}\n", i % 7, ["no", "yes"][i % 7 % 2])
        })
    });
    let path = folder.join("texts.csv");
    fs::write(&path, format!("text,label,domain\n{}", rows.collect::<String>())).unwrap();
    path.display().to_string()
}

/// 45 steps of 240 texts: domains arrive after 15 and 30, no multiples of 7.
fn stream(folder: &Path, routing: RoutingConfig, policy: PolicyConfig) -> RunConfig {
    let train = texts(folder);
    config(FROZEN, |config| {
        let (domain_column, stream) = (Some("domain".into()), Some(StreamKind::Sequential));
        config.data = DataConfig::Csv(CsvConfig {
            train: train.clone(),
            domain_column,
            stream,
            ..CsvConfig::default()
        });
        config.model.routing = routing;
        config.control.policy = policy.clone();
        config.control.edits.every = 7;
    })
}

fn told(by: AssignedBy, folder: &Path) -> RunConfig {
    let arrival = ArrivalConfig { known_by: KnownBy::Told {}, ..ArrivalConfig::default() };
    stream(folder, RoutingConfig::Assigned { by, n_experts: 1 }, PolicyConfig::Arrival(arrival))
}

/// Weights of an expert of the first layer, and of the classifier, in the checkpoint of a step.
fn weights(run: &RunDir, step: u64, expert: usize) -> (Vec<f32>, Vec<f32>) {
    let store = CheckpointStore::at(run.checkpoints());
    let model = LoadedModel::load(&store.path(step), &Device::flex()).unwrap().trained;
    let tensors = export(&model);
    let w_in = &tensors["layers.0.experts.w_in"];
    let row = w_in.data.len() / w_in.shape[0];
    (w_in.data[expert * row..(expert + 1) * row].to_vec(), tensors["head.weight"].data.clone())
}

#[test]
fn one_expert_comes_with_each_task_and_what_was_there_rests() {
    let folder = TempDir::new().unwrap();
    let config = told(AssignedBy::GuessedDomain, folder.path());
    let run = RunDir::new(folder.path().join("run"));
    let whole = finish(&config, &run);
    assert_eq!(whole.edit_steps(), [15, 30]);
    let layout = &whole.result.layout;
    assert!(layout.shared_frozen());
    assert!(layout.layers().iter().all(|layer| layer.n_experts() == 3 && layer.frozen.len() == 2));
    assert!(layout.layers()[0].frozen.contains(&ExpertId(0)));
    let asked: Vec<usize> = whole.result.per_time.iter().map(|time| time.per_domain.len()).collect();
    assert_eq!(
        (asked, whole.result.domains.as_slice()),
        (vec![1, 2, 3], &["tea", "art", "dusk"].map(String::from)[..])
    );
    assert_eq!(whole.result.routing.len(), 3);
    assert_eq!(weights(&run, 15, 0), weights(&run, 45, 0), "frozen from step 15 on");
    assert_ne!(weights(&run, 30, 1).0, weights(&run, 15, 0).0);
    let last = LoadedModel::open(run.path(), &Device::flex()).unwrap();
    assert_eq!(last.classify(&["dusk1", "tea2"]).len(), 2, "new texts are guessed");

    let stopped = RunDir::new(folder.path().join("stopped"));
    for step in [14, 15, 33] {
        interrupt(&config, &stopped, step);
    }
    let again = finish(&config, &stopped);
    assert_eq!((&again.tensors, &again.result), (&whole.tensors, &whole.result));
    assert_eq!(again.events.len(), whole.events.len());
}

#[test]
fn experts_by_domain_and_by_cluster_are_saved_with_what_assigns_them() {
    for by in [AssignedBy::Domain, AssignedBy::Clusters] {
        let folder = TempDir::new().unwrap();
        let routing = RoutingConfig::Assigned { by, n_experts: 3 };
        let mut config = stream(folder.path(), routing, PolicyConfig::Frozen {});
        let DataConfig::Csv(csv) = &mut config.data else { panic!() };
        csv.stream = None;
        let run = RunDir::new(folder.path().join("run"));
        let result = finish(&config, &run).result;
        // Each domain has words of its own, so that clusters find them.
        let main =
            |tokens: &Vec<f64>| tokens.iter().copied().fold(0.0, f64::max) / tokens.iter().sum::<f64>();
        let shares: Vec<f64> = result.routing.iter().map(|one| main(&one.tokens_per_expert[0])).collect();
        assert!(shares.iter().all(|share| *share > 0.9), "{by:?}: {shares:?}");
        let groups =
            run.checkpoints().join(format!("{}/groups.json", CheckpointStore::name(result.best_step)));
        fs::write(&groups, fs::read_to_string(&groups).unwrap() + " ").unwrap();
        let error = LoadedModel::open(run.path(), &Device::flex()).map(drop).unwrap_err().to_string();
        assert!(error.contains("groups.json"), "{error}");
    }
}

#[test]
fn groups_need_domains() {
    let folder = TempDir::new().unwrap();
    let routing = RoutingConfig::Assigned { by: AssignedBy::Domain, n_experts: 3 };
    let mut config = stream(folder.path(), routing, PolicyConfig::Frozen {});
    let DataConfig::Csv(csv) = &mut config.data else { panic!() };
    (csv.stream, csv.domain_column) = (None, None);
    let error = moelt_train::Prepared::new(&config).map(drop).unwrap_err().to_string();
    assert!(error.starts_with("`model.routing.assigned.by`: assigns experts by domains"), "{error}");
}
