//! One text for all spellings of an answer.

use super::answer::{Answer, answer};
use super::normal::normal;
use super::poly::Budget;
use super::tree::Expr;
use super::{Units, plain};

/// A text that equal answers share where they are values with a normal form; of others, the answer without spaces and
/// mark-up.
pub(super) fn canonical(given: &str, units: Units) -> String {
    let given = plain::trimmed(given);
    let value = plain::small_integer(given).map(|number| number.to_string());
    value.or_else(|| normal_form(given, units)).unwrap_or_else(|| plain::words(given))
}

fn normal_form(given: &str, units: Units) -> Option<String> {
    let mut budget = Budget::default();
    let mut found = super::parser::parse(given).and_then(|tree| answer(tree, &mut budget)).ok()?;
    while let Answer::Named { value, .. } = found {
        found = *value;
    }
    let Answer::Value(value) = found else { return None };
    let (bare, unit) = match (value, units) {
        (Expr::Percent(inner) | Expr::Quantity(inner, _), Units::Ignore) => (*inner, String::new()),
        (Expr::Quantity(inner, unit), Units::Compare) => (*inner, format!(" {unit}")),
        (other, _) => (other, String::new()),
    };
    let form = normal(&bare, &mut budget)?;
    let text = form.as_constant().map_or_else(|| form.text(), |constant| constant.to_string());
    Some(text + &unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spellings_of_one_answer_are_one_text() {
        let same = |spellings: &[&str]| {
            let texts: Vec<String> =
                spellings.iter().map(|text| canonical(text, Units::Ignore)).collect();
            assert!(texts.iter().all(|text| *text == texts[0]), "{texts:?}");
        };
        same(&["12", "12.0", "$12$", "012", "24/2", "x = 12", "12 cm", "**12**."]);
        same(&["1/2", r"\frac{1}{2}", "0.5", r"\dfrac12"]);
        same(&[r"2\sqrt{3}", r"\sqrt{12}"]);
        same(&[r"\text{north}", "north"]);
        for (one, other) in [("12", "13"), ("1/2", "1/3"), ("north", "south"), ("(1,2)", "(2,1)")] {
            assert_ne!(canonical(one, Units::Ignore), canonical(other, Units::Ignore));
        }
        assert_eq!(canonical("12.0", Units::Ignore), "12");
        assert_ne!(canonical("12 cm", Units::Compare), canonical("12", Units::Compare));
    }
}
