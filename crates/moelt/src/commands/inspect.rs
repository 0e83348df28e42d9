//! `moelt inspect`

use std::io::Write;

use moelt_optim::export;
use moelt_schema::LayerKind;
use moelt_train::LoadedModel;

use super::load;
use crate::cli::InspectArgs;

pub(crate) fn run(args: &InspectArgs) -> anyhow::Result<()> {
    let device = args.device.open()?;
    let loaded = load(&args.checkpoint, &device)?;
    let text = if args.json {
        serde_json::to_string_pretty(&loaded.checkpoint.manifest)? + "\n"
    } else {
        describe(&loaded)
    };
    Ok(std::io::stdout().write_all(text.as_bytes())?)
}

fn describe(loaded: &LoadedModel) -> String {
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
    if let Some(selection) = &manifest.selection {
        let percent = 100.0 * selection.accuracy;
        lines.push(format!("selection   {percent:.2} % (n = {}), loss {:.4}", selection.n, selection.loss));
    }
    for (index, layer) in manifest.layout.layers().iter().enumerate() {
        let ids: Vec<String> = layer.experts.iter().map(|id| id.0.to_string()).collect();
        lines.push(match layer.kind {
            LayerKind::Dense => format!("layer {index}     dense"),
            LayerKind::TopAny => {
                format!("layer {index}     {} experts, top-any: {}", layer.n_experts(), ids.join(" "))
            }
            LayerKind::Moe { top_k } => {
                format!("layer {index}     {} experts, top-{top_k}: {}", layer.n_experts(), ids.join(" "))
            }
        });
    }
    let mut table = comfy_table::Table::new();
    table.load_style(comfy_table::presets::UTF8_HORIZONTAL_ONLY);
    table.set_header(["parameter", "shape", "norm", "steps"]);
    for (path, tensor) in export(&loaded.trained) {
        let norm = tensor.data.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>().sqrt();
        let steps = loaded.optimizer.get(&path).map_or("–".to_owned(), |state| spread(&state.steps));
        table.add_row([path, format!("{:?}", tensor.shape), format!("{norm:.3}"), steps]);
    }
    lines.push(table.to_string());
    lines.join("\n") + "\n"
}

/// `7`, or `3–9` when rows took different numbers of steps.
fn spread(steps: &[u64]) -> String {
    match (steps.iter().min(), steps.iter().max()) {
        (Some(least), Some(most)) if least < most => format!("{least}–{most}"),
        (_, most) => most.copied().unwrap_or(0).to_string(),
    }
}
