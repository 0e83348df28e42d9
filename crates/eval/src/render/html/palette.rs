//! How arms look: a colour and a symbol each, the same in every chart.

use plotly::common::MarkerSymbol;

use crate::ArmReport;

/// Colours that people with any form of colour blindness tell apart, on white and on black (after Okabe and Ito 2008).
const COLOURS: [&str; 7] = ["#0a7bc2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#8a6fd1"];

/// Of the frozen sweep, which is the background that the others stand before.
const FROZEN: &str = "#8a8f98";

/// After as many arms as there are colours, the next symbol.
const SYMBOLS: [(MarkerSymbol, &str); 4] = [
    (MarkerSymbol::Circle, "●"),
    (MarkerSymbol::Diamond, "◆"),
    (MarkerSymbol::Square, "■"),
    (MarkerSymbol::TriangleUp, "▲"),
];

/// How an arm looks.
#[derive(Clone)]
pub(super) struct Look {
    pub(super) colour: &'static str,
    pub(super) symbol: MarkerSymbol,
    /// The symbol as a character.
    pub(super) glyph: &'static str,
}

/// The looks of `arms`, in order.
pub(super) fn looks(arms: &[ArmReport]) -> Vec<Look> {
    let mut coloured = 0;
    let look = |arm: &ArmReport| {
        if arm.sweep.is_some() {
            return Look { colour: FROZEN, symbol: MarkerSymbol::Circle, glyph: "●" };
        }
        let at = coloured;
        coloured += 1;
        let (symbol, glyph) = SYMBOLS[at / COLOURS.len() % SYMBOLS.len()].clone();
        Look { colour: COLOURS[at % COLOURS.len()], symbol, glyph }
    };
    arms.iter().map(look).collect()
}
