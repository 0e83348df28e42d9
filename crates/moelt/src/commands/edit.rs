//! `moelt edit`

mod plan;

use std::io::Write;

use anyhow::Context;
use moelt_schema::{LayerId, Layout, Plan};
use moelt_train::EditedCheckpoint;
use serde::Serialize;

use self::plan::{Planned, plan};
use super::{load, must_be_new, words};
use crate::cli::EditArgs;

/// For machines.
#[derive(Serialize)]
struct Facts<'a> {
    plan: &'a Plan,
    layout: &'a Layout,
    /// `‖after − before‖ / ‖before‖` of the evaluated weights' logits.
    deviation: f64,
    /// Texts it was measured on.
    texts: usize,
}

pub(crate) fn run(args: &EditArgs) -> anyhow::Result<()> {
    must_be_new(&args.out)?;
    let device = args.device.open()?;
    let loaded = load(&args.checkpoint, &device)?;
    let planned = plan(args, &loaded.checkpoint.manifest)?;
    let from = loaded.path.clone();
    let mut edited = loaded.edited(&planned.plan)?;
    edited.checkpoint.save_as(&args.out).with_context(|| format!("--out {}", args.out.display()))?;
    let text = if args.json {
        let (plan, layout) = (planned.plan.plan(), planned.plan.after());
        let EditedCheckpoint { deviation, texts, .. } = edited;
        serde_json::to_string_pretty(&Facts { plan, layout, deviation, texts })? + "\n"
    } else {
        let head = format!("checkpoint  {}\n", from.display());
        let foot = format!("written to  {}\n", args.out.display());
        head + &describe(&planned, &edited) + &foot
    };
    Ok(std::io::stdout().write_all(text.as_bytes())?)
}

fn describe(planned: &Planned, edited: &EditedCheckpoint) -> String {
    let plan = &planned.plan;
    let mut lines = vec![format!("edits       {}", words::plan(plan.plan()))];
    lines.extend(planned.notes.iter().map(|note| format!("            {note}")));
    for (index, (before, after)) in plan.before().layers().iter().zip(plan.after().layers()).enumerate() {
        let before = words::layer(before);
        lines.push(if plan.maps().contains_key(&LayerId(index as u32)) {
            format!("layer {index}     {before} → {}", words::layer(after))
        } else {
            format!("layer {index}     {before}, as before")
        });
    }
    lines.push(words::deviation(edited));
    lines.join("\n") + "\n"
}
