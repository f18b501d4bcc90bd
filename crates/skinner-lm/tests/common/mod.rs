//! The real model, for the tests that need it.

use skinner_lm::{Pretrained, SourceOptions, resolve};

/// `SmolLM2`, fetched by the resolver; without it, a loud word on standard error, or a failure where `CI` or
/// `SKINNER_REQUIRE_MODEL` is set.
pub fn smollm2() -> Option<Pretrained> {
    const NAME: &str = "smollm2-135m-instruct";
    let found = SourceOptions::from_env().and_then(|options| resolve(NAME, &options));
    match found {
        Ok(model) => Some(Pretrained::load(&model).unwrap()),
        Err(why) => {
            let required = ["CI", "SKINNER_REQUIRE_MODEL"].map(std::env::var_os);
            assert!(required.iter().all(Option::is_none), "{NAME} is required: {why}");
            say(&format!("\n*** SKIPPED: this test needs the model {NAME} ***\n{why}\n"));
            None
        }
    }
}

#[expect(clippy::print_stderr, reason = "a test that is passed over must say so")]
fn say(what: &str) {
    eprintln!("{what}");
}
