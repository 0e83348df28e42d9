//! AdamW with per-row steps, weight averaging, schedules and clipping.
