//! From raw text to batches: readers, splits, vocabulary, the planted generator.
//!
//! A [`Dataset`] gives [`Splits`]: labelled texts to train, to choose and to judge on. Texts that a model cannot tell apart are on one side
//! of a split, and what was skipped, guessed or cut is among their notes. A [`Vocabulary`] built from the training
//! texts, or that of a pretrained encoder, turns each text into an [`Encoded`] sequence of tokens, and each token into rows of the
//! embedding table. [`Batches`] cuts the training texts into [`TokenBatch`]es in an order that depends on
//! seed and step alone; [`in_order`] does it for evaluation. [`TextGroups`] says which domain or cluster a text
//! belongs to. No tensor library is known here.

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod bad_lines;
mod batch;
mod batches;
mod csv;
mod dataset;
mod drifting;
mod encoded;
mod error;
mod example;
mod glue;
mod key;
mod label_kinds;
mod labelled;
mod lookup;
mod notes;
mod own_texts;
mod phrases;
mod pieces;
mod planted;
mod source;
mod split;
mod splits;
mod sst2;
mod subword;
mod table;
mod text_groups;
mod texts;
mod tokenizer;
mod vocabulary;

pub use batch::TokenBatch;
pub use batches::{Batches, Segment, in_order};
pub use dataset::{Dataset, files_of};
pub use encoded::Encoded;
pub use error::DataError;
pub use example::Example;
pub use glue::{GlueCounts, verify_glue};
pub use labelled::{Labelled, check_label_kind, read_examples};
pub use notes::{CutTexts, cut_note};
pub use own_texts::OwnTexts;
pub use splits::Splits;
pub use text_groups::{TEXT_GROUPS_FORMAT, TextGroups, TextGroupsError};
pub use texts::{TextColumns, TextReader, TextRow};
pub use tokenizer::tokenize;
pub use vocabulary::{VOCABULARY_FORMAT, Vocabulary, VocabularyError};
