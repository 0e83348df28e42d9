//! The options of `moelt edit` that ask for an edit: kept in the order in which they were typed, because
//! new experts are numbered in it.

use std::fmt;

use clap::{Arg, ArgAction, ArgGroup, ArgMatches, Args, Command, Error, FromArgMatches};

/// The kinds of edits, an option each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum EditKind {
    Grow,
    Split,
    Prune,
    Merge,
    Upcycle,
    Freeze,
    Thaw,
}

impl EditKind {
    const ALL: [Self; 7] =
        [Self::Grow, Self::Split, Self::Prune, Self::Merge, Self::Upcycle, Self::Freeze, Self::Thaw];

    fn name(self) -> &'static str {
        match self {
            Self::Grow => "grow",
            Self::Split => "split",
            Self::Prune => "prune",
            Self::Merge => "merge",
            Self::Upcycle => "upcycle",
            Self::Freeze => "freeze",
            Self::Thaw => "thaw",
        }
    }

    /// What stands after the option.
    pub(crate) fn form(self) -> &'static str {
        match self {
            Self::Grow => "L[:PARENT]",
            Self::Split => "L:PARENT",
            Self::Prune | Self::Freeze | Self::Thaw => "L:ID",
            Self::Merge => "L:FROM:INTO",
            Self::Upcycle => "L:N",
        }
    }

    fn help(self) -> &'static str {
        match self {
            Self::Grow => "A new expert in layer L: drawn anew, or a copy of PARENT with noise. Repeatable.",
            Self::Split => "A new expert that shares the router probability of PARENT. Repeatable.",
            Self::Prune => "An expert goes. Repeatable.",
            Self::Merge => {
                "FROM is averaged into INTO and goes. Its weight is its part of the tokens of both where the \
                 checkpoint has counted them, else 0.5. Repeatable."
            }
            Self::Freeze => "A run that starts from these weights does not train the expert. Repeatable.",
            Self::Thaw => "A run that starts from these weights trains the frozen expert. Repeatable.",
            Self::Upcycle => "The dense layer L becomes N experts behind a router. Repeatable.",
        }
    }

    fn arg(self) -> Arg {
        let arg = Arg::new(self.name()).long(self.name()).value_name(self.form()).help(self.help());
        arg.action(ArgAction::Append)
    }
}

/// One edit, as typed.
#[derive(Clone, Debug)]
pub(crate) struct TypedEdit {
    pub(crate) kind: EditKind,
    pub(crate) value: String,
}

impl fmt::Display for TypedEdit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "--{} {}", self.kind.name(), self.value)
    }
}

/// All edits, as typed; one at least.
#[derive(Clone, Debug)]
pub(crate) struct TypedEdits(pub(crate) Vec<TypedEdit>);

impl Args for TypedEdits {
    fn augment_args(command: Command) -> Command {
        let names = EditKind::ALL.map(EditKind::name);
        let group = ArgGroup::new("edits").args(names).required(true).multiple(true);
        command.args(EditKind::ALL.map(EditKind::arg)).group(group)
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for TypedEdits {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, Error> {
        let of_kind = |kind: EditKind| {
            let values = matches.get_many::<String>(kind.name()).into_iter().flatten();
            let places = matches.indices_of(kind.name()).into_iter().flatten();
            places.zip(values).map(move |(place, value)| (place, TypedEdit { kind, value: value.clone() }))
        };
        let mut edits: Vec<(usize, TypedEdit)> = EditKind::ALL.into_iter().flat_map(of_kind).collect();
        edits.sort_by_key(|(place, _)| *place);
        Ok(Self(edits.into_iter().map(|(_, edit)| edit).collect()))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}
