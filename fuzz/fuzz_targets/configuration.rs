#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| mmm_fuzzing::configuration(data));
