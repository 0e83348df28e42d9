//! `moelt inspect`

mod experts;

use std::io::Write;

use moelt_eval::render::{Column, Document, Table};
use moelt_optim::{HostTensor, export};
use moelt_schema::{LayerId, LayerKind, LayerLayout, LayerSums, Manifest, RoutingStats, RoutingWarning};
use moelt_train::{Checkpoint, LoadedModel};
use serde::Serialize;

use self::experts::{ExpertFacts, experts, table};
use super::{load, window::routing, words};
use crate::cli::InspectArgs;

/// For machines.
#[derive(Serialize)]
struct Facts<'a> {
    manifest: &'a Manifest,
    experts: &'a [ExpertFacts],
    warnings: &'a [RoutingWarning],
}

pub(crate) fn run(args: &InspectArgs) -> anyhow::Result<()> {
    let device = args.device.open()?;
    let loaded = load(&args.checkpoint, &device)?;
    let experts = experts(&loaded);
    let text = if args.json {
        let (manifest, warnings) = (&loaded.checkpoint.manifest, warnings(&loaded));
        serde_json::to_string_pretty(&Facts { manifest, experts: &experts, warnings: &warnings })? + "\n"
    } else {
        describe(&loaded, &experts)
    };
    Ok(std::io::stdout().write_all(text.as_bytes())?)
}

fn describe(loaded: &LoadedModel, experts: &[ExpertFacts]) -> String {
    let manifest = &loaded.checkpoint.manifest;
    let mut document = Document::default();
    head(loaded).into_iter().for_each(|line| {
        document.paragraph(line);
    });
    for (id, layer) in (0..).map(LayerId).zip(manifest.layout.layers()) {
        describe_layer(&mut document, id, layer, &loaded.checkpoint, experts);
    }
    for warning in warnings(loaded) {
        document.paragraph(format!("warning     {warning}"));
    }
    edit_log(manifest).into_iter().for_each(|line| {
        document.paragraph(line);
    });
    document.table(parameters(loaded)).to_terminal()
}

fn head(loaded: &LoadedModel) -> Vec<String> {
    let manifest = &loaded.checkpoint.manifest;
    let active = loaded.trained.n_active_params(&manifest.layout);
    let mut lines = vec![
        format!("checkpoint  {}", loaded.path.display()),
        format!("arm         {}, seed {}, step {}", manifest.arm, manifest.seed, manifest.step),
        format!("written by  moelt {}, format {}", manifest.moelt, manifest.format),
        format!("config      {}", manifest.config),
        format!("data        {}", manifest.data),
        format!("vocabulary  {} ({} rows)", manifest.vocabulary, loaded.vocabulary.n_rows()),
        format!("classes     {}", manifest.classes.join(", ")),
        format!("parameters  {}, {active} active", loaded.trained.n_params()),
    ];
    if let Some(validation) = &manifest.validation {
        let accuracy = words::plain(validation.accuracy, validation.n);
        lines.push(format!("validation   {accuracy}, loss {:.4}", validation.loss));
    }
    lines
}

/// Of a layer with a router also a table of its experts.
fn describe_layer(
    document: &mut Document,
    id: LayerId,
    layer: &LayerLayout,
    checkpoint: &Checkpoint,
    experts: &[ExpertFacts],
) {
    let line = format!("layer {}     {}", id.0, words::layer(layer));
    if layer.kind == LayerKind::Dense {
        document.paragraph(line);
        return;
    }
    let counted = match routing(&checkpoint.manifest).get(&id) {
        Some(sums) => counted(sums, checkpoint.config.model.expert_choice),
        None => "; no statistics: a window had just ended".to_owned(),
    };
    document.paragraph(line + &counted).table(table(experts, id));
}

/// Which tokens the statistics of a layer are of, and how many of them had no expert of their own.
fn counted(sums: &LayerSums, expert_choice: bool) -> String {
    let RoutingStats { tokens, unrouted, dropped, .. } = RoutingStats::from_sums(sums);
    let chosen = if expert_choice { " of training, in which experts chose them" } else { "" };
    let share = |part: f64, what: &str| {
        if part > 0.0 { format!("; {} of {what}", words::percent(part)) } else { String::new() }
    };
    let unrouted = share(unrouted, "the tokens unrouted");
    format!("; statistics of {tokens} tokens{chosen}{unrouted}{}", share(dropped, "their choices dropped"))
}

/// What the routers did before the checkpoint that somebody should look at.
fn warnings(loaded: &LoadedModel) -> Vec<RoutingWarning> {
    let manifest = &loaded.checkpoint.manifest;
    if manifest.edits.plans.last().is_some_and(|plan| plan.step >= manifest.step) {
        // What is counted is of other experts.
        return Vec::new();
    }
    let biases = |layer| loaded.trained.balance_biases(layer);
    RoutingWarning::all(&manifest.layout, &routing(manifest), &manifest.state.ramp_ins, biases)
}

/// One line per plan.
fn edit_log(manifest: &Manifest) -> Vec<String> {
    if manifest.edits.plans.is_empty() {
        return vec!["edits       none".to_owned()];
    }
    let plans = manifest.edits.plans.iter();
    let line = |plan: &moelt_schema::Plan| {
        format!("edits       step {}: {} ({})", plan.step, words::plan(plan), plan.reason)
    };
    plans.map(line).collect()
}

fn parameters(loaded: &LoadedModel) -> Table {
    let row = |(path, tensor): (String, HostTensor)| {
        let norm = tensor.data.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>().sqrt();
        let steps = loaded.optimizer.get(&path).map_or("–".to_owned(), |state| spread(&state.steps));
        vec![path, format!("{:?}", tensor.shape), format!("{norm:.3}"), steps]
    };
    Table {
        columns: [
            Column::left("parameter"),
            Column::left("shape"),
            Column::right("norm"),
            Column::right("steps"),
        ]
        .into(),
        rows: export(&loaded.trained).into_iter().map(row).collect(),
    }
}

/// `7`, or `3–9` when its rows took different numbers of steps.
fn spread(steps: &[u64]) -> String {
    match (steps.iter().min(), steps.iter().max()) {
        (Some(least), Some(most)) if least < most => format!("{least}–{most}"),
        (_, most) => most.copied().unwrap_or(0).to_string(),
    }
}

#[cfg(test)]
mod tests {
    use moelt_schema::Unrouted;

    use super::*;

    #[test]
    fn tokens_without_an_expert_are_shown_where_there_are_any() {
        let sums = LayerSums { tokens: 8.0, tokens_per_expert: vec![6.0, 4.0], ..LayerSums::zeros(2) };
        assert_eq!(counted(&sums, false), "; statistics of 8 tokens");
        let unrouted = Unrouted { tokens: 1.0, sum: vec![0.5] };
        let some = LayerSums { unrouted, dropped: 2.0, ..sums };
        let expected =
            "; statistics of 8 tokens; 12.50 % of the tokens unrouted; 20.00 % of their choices dropped";
        assert_eq!(counted(&some, false), expected);
        let chosen = "; statistics of 8 tokens of training, in which experts chose them; 12.50 % of";
        assert!(counted(&some, true).starts_with(chosen));
    }
}
