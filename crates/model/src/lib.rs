//! Text classifier with Mixture-of-Experts layers whose experts lie stacked on one axis.
