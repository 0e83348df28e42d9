//! See the function of this name in `fuzz/src/lib.rs`.

#![no_main]

libfuzzer_sys::fuzz_target!(
    // The run whose checkpoint it is takes longer than any input may.
    init: {
        moelt_fuzz::seeds("weights");
    },
    |bytes: &[u8]| {
        moelt_fuzz::weights(bytes);
    }
);
