//! See the function of this name in `fuzz/src/lib.rs`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    moelt_fuzz::vectors(bytes);
});
