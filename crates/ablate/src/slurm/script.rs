//! The script of an array job.

use moelt_schema::Cell;

use crate::{args::SlurmArgs, retention::Keep};

/// What every task does with its cell, which runs in the background.
const TASK: &str = r#"running=$!
# 90 seconds before the time limit, or when the cluster preempts with the job's own signal: back into the queue.
again=
trap 'again=yes; kill -TERM "$running"' USR2
# Cancelled, or preempted in another way: what comes next is Slurm's business.
trap 'kill -TERM "$running"' TERM
# A signal cuts `wait` short; the status of a process that has ended is kept for the last one.
while wait "$running"; [ $? -gt 128 ] && kill -0 "$running" 2>/dev/null; do :; done
wait "$running"
status=$?
# 130: interrupted, with a checkpoint to go on from.
if [ -n "$again" ] && [ "$status" -eq 130 ]; then
    scontrol requeue "${SLURM_ARRAY_JOB_ID}_$SLURM_ARRAY_TASK_ID"
fi
exit "$status"
"#;

/// The script for these cells of the ablation `name`, which is submitted in the folder that paths count from. It holds
/// all it needs: Slurm keeps a copy, and the file may be written again for other cells.
pub(super) fn text(name: &str, cells: &[&Cell], args: &SlurmArgs, keep: Keep) -> String {
    let folder = format!("runs/{name}");
    let throttle = args.throttle.map_or(String::new(), |at_a_time| format!("%{at_a_time}"));
    let mut options = vec![
        format!("job-name=moelt-{name}"),
        format!("array=0-{}{throttle}", cells.len() - 1),
        "ntasks=1".to_owned(),
        "cpus-per-task=1".to_owned(),
        format!("output={folder}/slurm/%A_%a.log"),
        "open-mode=append".to_owned(),
        "requeue".to_owned(),
        "signal=B:USR2@90".to_owned(),
    ];
    let given = [("partition", &args.partition), ("time", &args.time), ("account", &args.account)];
    options.extend(given.iter().filter_map(|(key, value)| Some(format!("{key}={}", value.as_ref()?))));
    let options: String = options.iter().map(|option| format!("#SBATCH --{option}\n")).collect();
    let cells: String = cells.iter().map(|cell| format!("    {}\n", quoted(&cell.id))).collect();
    let keep = match keep {
        Keep::All => "",
        Keep::Best => " --keep best",
        Keep::None => " --keep none",
    };
    let run =
        format!("{folder}/moelt ablate run --name {name} --cell \"${{cells[SLURM_ARRAY_TASK_ID]}}\"{keep} &");
    format!("#!/bin/bash\n{options}\ncells=(\n{cells})\n\n{run}\n{TASK}")
}

/// One word of a shell, whatever is in it.
fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use moelt_schema::RunConfig;

    use super::*;

    fn cell(id: &str) -> Cell {
        Cell { id: id.to_owned(), ..Cell::new(RunConfig::default()) }
    }

    fn args(given: bool) -> SlurmArgs {
        let some = |text: &str| given.then(|| text.to_owned());
        SlurmArgs {
            partition: some("cpu"),
            time: some("02:00:00"),
            throttle: given.then_some(std::num::NonZeroUsize::MIN),
            account: some("lab-7"),
            dry_run: false,
        }
    }

    #[test]
    fn a_script_says_everything() {
        let cells = [cell("rule-s600-12345678"), cell("it's $(odd)-s1-12345678")];
        insta::assert_snapshot!(text("night", &cells.iter().collect::<Vec<_>>(), &args(true), Keep::All));
    }

    #[test]
    fn what_is_not_given_is_left_to_the_cluster() {
        let text = text("night", &[&cell("moe-s0-12345678")], &args(false), Keep::Best);
        let options: Vec<&str> = text.lines().filter(|line| line.starts_with("#SBATCH")).collect();
        assert_eq!((options.len(), options[1]), (8, "#SBATCH --array=0-0"));
        assert!(text.contains("--cell \"${cells[SLURM_ARRAY_TASK_ID]}\" --keep best &\n"), "{text}");
    }
}
