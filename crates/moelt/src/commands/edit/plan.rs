//! From the edits that were typed to a plan that fits the checkpoint.

use std::collections::BTreeMap;

use anyhow::{anyhow, bail};
use moelt_schema::{
    CheckedPlan, Edit, Evidence, ExpertId, ExpertInit, LayerId, LayerSums, Layout, Limits, Manifest, Plan,
    PlanError,
};

use crate::{
    cli::{EditArgs, EditKind, TypedEdit},
    commands::window::routing,
};

/// More experts than anybody means: a slip of the finger should not fill the memory.
const LIMITS: Limits = Limits { min: 1, max: 1024 };

/// A plan, and what is to be said about it.
pub(super) struct Planned {
    pub(super) plan: CheckedPlan,
    pub(super) notes: Vec<String>,
}

/// The plan for what was typed.
pub(super) fn plan(args: &EditArgs, manifest: &Manifest) -> anyhow::Result<Planned> {
    let typed = &args.edits.0;
    let mut planner = Planner {
        args,
        layout: &manifest.layout,
        routing: routing(manifest),
        next_id: manifest.layout.next_id(),
        evidence: Evidence::default(),
        notes: Vec::new(),
    };
    let edits = typed.iter().map(|typed| planner.edit(typed)).collect::<anyhow::Result<_>>()?;
    let Planner { evidence, notes, .. } = planner;
    let plan = Plan { step: manifest.step, edits, reason: "moelt edit".to_owned(), evidence };
    Ok(Planned { plan: check(plan, typed, &manifest.layout)?, notes })
}

struct Planner<'a> {
    args: &'a EditArgs,
    layout: &'a Layout,
    routing: BTreeMap<LayerId, &'a LayerSums>,
    next_id: ExpertId,
    evidence: Evidence,
    notes: Vec<String>,
}

impl Planner<'_> {
    fn edit(&mut self, typed: &TypedEdit) -> anyhow::Result<Edit> {
        match typed.kind {
            EditKind::FreezeShared => Ok(Edit::FreezeShared {}),
            EditKind::ThawShared => Ok(Edit::ThawShared {}),
            _ => self.edit_of_layer(typed),
        }
    }

    fn edit_of_layer(&mut self, typed: &TypedEdit) -> anyhow::Result<Edit> {
        let malformed = || anyhow!("{typed}: expected {}", expected(typed.kind));
        let (layer, experts) = numbers(&typed.value).ok_or_else(malformed)?;
        Ok(match (typed.kind, experts.as_slice()) {
            (EditKind::Grow, []) => self.grow(layer, ExpertInit::Fresh),
            (EditKind::Grow, [parent]) => {
                let noise = self.args.noise;
                self.grow(layer, ExpertInit::Copy { parent: ExpertId(*parent), noise })
            }
            (EditKind::Split, [parent]) => self.grow(layer, ExpertInit::Split { parent: ExpertId(*parent) }),
            (EditKind::Prune, [expert]) => Edit::Prune { layer, expert: ExpertId(*expert) },
            (EditKind::Freeze, [expert]) => Edit::Freeze { layer, expert: ExpertId(*expert) },
            (EditKind::Thaw, [expert]) => Edit::Thaw { layer, expert: ExpertId(*expert) },
            (EditKind::Merge, [from, into]) if from == into => {
                bail!("{typed}: these are one expert; name two")
            }
            (EditKind::Merge, [from, into]) => self.merge(layer, ExpertId(*from), ExpertId(*into)),
            (EditKind::Upcycle, [n]) => self.upcycle(layer, *n, typed)?,
            _ => return Err(malformed()),
        })
    }

    fn new_id(&mut self) -> ExpertId {
        let id = self.next_id;
        self.next_id = ExpertId(id.0 + 1);
        id
    }

    fn grow(&mut self, layer: LayerId, init: ExpertInit) -> Edit {
        Edit::Grow { layer, new: self.new_id(), init }
    }

    fn merge(&mut self, layer: LayerId, from: ExpertId, into: ExpertId) -> Edit {
        let names = format!("share of {} in {}", from.0, into.0);
        let (share, note) = match (self.tokens(layer, from), self.tokens(layer, into)) {
            (Some(gone), Some(stays)) if gone + stays > 0.0 => {
                for (expert, tokens) in [(from, gone), (into, stays)] {
                    let name = format!("layer_{}.expert_{}.tokens", layer.0, expert.0);
                    self.evidence = std::mem::take(&mut self.evidence).with(name, tokens);
                }
                let share = gone / (gone + stays);
                (share, format!("{names}: {share:.3}, by their tokens ({gone} and {stays})"))
            }
            _ => (0.5, format!("{names}: 0.5, because the checkpoint has not counted their tokens")),
        };
        self.notes.push(note);
        Edit::Merge { layer, from, into, share }
    }

    /// Tokens that the checkpoint has counted for an expert.
    fn tokens(&self, layer: LayerId, expert: ExpertId) -> Option<f64> {
        let position = self.layout.layer(layer)?.experts.iter().position(|id| *id == expert)?;
        self.routing.get(&layer)?.tokens_per_expert.get(position).copied()
    }

    fn upcycle(&mut self, layer: LayerId, n: u64, typed: &TypedEdit) -> anyhow::Result<Edit> {
        let EditArgs { top_k, reinit, .. } = *self.args;
        if n > LIMITS.max as u64 {
            bail!("{typed}: at most {} experts are possible", LIMITS.max);
        }
        if n < top_k as u64 || n == 0 {
            bail!("{typed}: fewer experts than --top-k {top_k}; give at least as many, or a smaller --top-k");
        }
        // The dense expert stays as the first one. Whether the layer is dense is for the plan's check.
        let dense = self.layout.layer(layer).and_then(|layer| layer.experts.first());
        let first = dense.copied().unwrap_or(ExpertId(0));
        let into = std::iter::once(first).chain((1..n).map(|_| self.new_id())).collect();
        Ok(Edit::Upcycle { layer, into, top_k, reinit })
    }
}

/// The form of an edit, and an example.
fn expected(kind: EditKind) -> &'static str {
    match kind {
        EditKind::Grow => "L or L:PARENT, such as 0 or 0:3",
        EditKind::Split => "L:PARENT, such as 0:3",
        EditKind::Prune | EditKind::Freeze | EditKind::Thaw => "L:ID, such as 0:3",
        EditKind::Merge => "L:FROM:INTO, such as 0:3:1",
        EditKind::Upcycle => "L:N, such as 0:4",
        EditKind::FreezeShared | EditKind::ThawShared => "nothing behind it",
    }
}

/// A layer and the numbers after it.
fn numbers(value: &str) -> Option<(LayerId, Vec<u64>)> {
    let mut parts = value.split(':');
    let layer = LayerId(parts.next()?.parse().ok()?);
    Some((layer, parts.map(str::parse).collect::<Result<_, _>>().ok()?))
}

/// Checks the plan; an error names the edit at which it fails.
fn check(plan: Plan, typed: &[TypedEdit], layout: &Layout) -> anyhow::Result<CheckedPlan> {
    let attempt = |n: usize| Plan { edits: plan.edits[..n].to_vec(), ..plan.clone() }.check(layout, LIMITS);
    attempt(typed.len()).map_err(|error| {
        // The first edits that fail like this: fewer may fail otherwise, such as by leaving no expert.
        let fails = |n: &usize| attempt(*n).as_ref() == Err(&error);
        let n = (1..typed.len()).find(fails).unwrap_or(typed.len());
        let mend = match error {
            PlanError::Twice { .. } => "; do it in two commands",
            _ => "",
        };
        anyhow!("{}: {error}{mend}", typed[n - 1])
    })
}
