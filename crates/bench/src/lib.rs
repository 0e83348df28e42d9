//! What things cost: the benches lie in `benches/`. A package of its own, because criterion asks for other
//! features of crates that Burn uses: built together with the tests it would cost them a second Burn.
