//! Train Mixture-of-Experts text classifiers whose experts come and go.
