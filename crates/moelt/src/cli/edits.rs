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
    FreezeShared,
    ThawShared,
}

impl EditKind {
    const ALL: [Self; 9] = [
        Self::Grow,
        Self::Split,
        Self::Prune,
        Self::Merge,
        Self::Upcycle,
        Self::Freeze,
        Self::Thaw,
        Self::FreezeShared,
        Self::ThawShared,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::Grow => "grow",
            Self::Split => "split",
            Self::Prune => "prune",
            Self::Merge => "merge",
            Self::Upcycle => "upcycle",
            Self::Freeze => "freeze",
            Self::Thaw => "thaw",
            Self::FreezeShared => "freeze-shared",
            Self::ThawShared => "thaw-shared",
        }
    }

    /// What stands after the option, if anything does.
    pub(crate) fn form(self) -> Option<&'static str> {
        match self {
            Self::Grow => Some("L[:PARENT]"),
            Self::Split => Some("L:PARENT"),
            Self::Prune | Self::Freeze | Self::Thaw => Some("L:ID"),
            Self::Merge => Some("L:FROM:INTO"),
            Self::Upcycle => Some("L:N"),
            Self::FreezeShared | Self::ThawShared => None,
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
            Self::FreezeShared => {
                "A run that starts from these weights trains nothing but experts and routers: embeddings, attention, norms, the \
                 classifier and all else that experts share keep their values."
            }
            Self::ThawShared => "A run that starts from these weights trains again what experts share.",
            Self::Upcycle => "The dense layer L becomes N experts behind a router. Repeatable.",
        }
    }

    fn arg(self) -> Arg {
        let arg = Arg::new(self.name()).long(self.name()).help(self.help()).action(ArgAction::Append);
        match self.form() {
            Some(form) => arg.value_name(form),
            // A flag with an empty value, so that it has its place among the others.
            None => arg.num_args(0).default_missing_value(""),
        }
    }
}

/// One edit, as typed.
#[derive(Clone, Debug)]
pub(crate) struct TypedEdit {
    pub(crate) kind: EditKind,
    /// What stands after the option; empty where nothing does.
    pub(crate) value: String,
}

impl fmt::Display for TypedEdit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "--{}", self.kind.name())?;
        if self.value.is_empty() { Ok(()) } else { write!(f, " {}", self.value) }
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
