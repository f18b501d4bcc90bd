//! The words and marks that the lexer knows.

use super::lexer::Token;
use super::tree::{Comparator, Constant};

/// What a name means.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Word {
    Function(&'static str),
    Constant(Constant),
    Command(&'static str),
    Comparator(Comparator),
    Unit(&'static str),
    Mark(char),
    /// By what the number before it is multiplied.
    Scale(i64),
}

impl Word {
    pub(super) const fn token<'a>(self) -> Token<'a> {
        match self {
            Self::Function(name) => Token::Function(name),
            Self::Constant(constant) => Token::Constant(constant),
            Self::Command(name) => Token::Command(name),
            Self::Comparator(comparator) => Token::Comparator(comparator),
            Self::Unit(unit) => Token::Unit(unit),
            Self::Mark(mark) => Token::Mark(mark),
            Self::Scale(scale) => Token::Scale(scale),
        }
    }
}

/// Commands without meaning here. A full stop after `\left` and `\right` belongs to them.
pub(super) const IGNORED: [&str; 20] = [
    "left",
    "right",
    "big",
    "Big",
    "bigg",
    "Bigg",
    "bigl",
    "bigr",
    "Bigl",
    "Bigr",
    "biggl",
    "biggr",
    "displaystyle",
    "textstyle",
    "limits",
    "middle",
    "hspace",
    "phantom",
    "rm",
    "bf",
];

/// Commands whose braces hold words.
pub(super) const TEXT: [&str; 12] = [
    "text",
    "textbf",
    "textit",
    "textrm",
    "textnormal",
    "textsf",
    "texttt",
    "mbox",
    "mathrm",
    "operatorname",
    "mathsf",
    "hbox",
];

/// Names of variables.
pub(super) const GREEK: [&str; 40] = [
    "alpha",
    "beta",
    "gamma",
    "delta",
    "epsilon",
    "varepsilon",
    "zeta",
    "eta",
    "theta",
    "vartheta",
    "iota",
    "kappa",
    "lambda",
    "mu",
    "nu",
    "xi",
    "rho",
    "sigma",
    "tau",
    "upsilon",
    "phi",
    "varphi",
    "chi",
    "psi",
    "omega",
    "Gamma",
    "Delta",
    "Theta",
    "Lambda",
    "Xi",
    "Sigma",
    "Upsilon",
    "Phi",
    "Psi",
    "Omega",
    "ell",
    "hbar",
    "aleph",
    "varrho",
    "digamma",
];

/// Functions, in LaTeX and in plain text.
const FUNCTIONS: [(&str, &str); 25] = [
    ("sin", "sin"),
    ("cos", "cos"),
    ("tan", "tan"),
    ("cot", "cot"),
    ("sec", "sec"),
    ("csc", "csc"),
    ("sinh", "sinh"),
    ("cosh", "cosh"),
    ("tanh", "tanh"),
    ("arcsin", "arcsin"),
    ("arccos", "arccos"),
    ("arctan", "arctan"),
    ("asin", "arcsin"),
    ("acos", "arccos"),
    ("atan", "arctan"),
    ("ln", "ln"),
    ("log", "ln"),
    ("lg", "lg"),
    ("exp", "exp"),
    ("abs", "abs"),
    ("max", "max"),
    ("gcd", "gcd"),
    ("lcm", "lcm"),
    ("floor", "floor"),
    ("ceil", "ceil"),
];

/// Units that are words, and their one name.
const UNITS: [(&[&str], &str); 34] = [
    (&["mm", "millimeter", "millimeters", "millimetre", "millimetres"], "mm"),
    (&["cm", "centimeter", "centimeters", "centimetre", "centimetres"], "cm"),
    (&["meter", "meters", "metre", "metres"], "m"),
    (&["km", "kilometer", "kilometers", "kilometre", "kilometres"], "km"),
    (&["inch", "inches"], "in"),
    (&["ft", "foot", "feet"], "ft"),
    (&["yd", "yard", "yards"], "yd"),
    (&["mile", "miles"], "mi"),
    (&["mg", "milligram", "milligrams"], "mg"),
    (&["gram", "grams"], "g"),
    (&["kg", "kilogram", "kilograms"], "kg"),
    (&["lb", "lbs", "pound", "pounds"], "lb"),
    (&["oz", "ounce", "ounces"], "oz"),
    (&["ton", "tons", "tonne", "tonnes"], "t"),
    (&["ml", "mL", "milliliter", "milliliters"], "ml"),
    (&["liter", "liters", "litre", "litres"], "l"),
    (&["gallon", "gallons"], "gal"),
    (&["sec", "secs", "second", "seconds"], "s"),
    (&["min", "mins", "minute", "minutes"], "min"),
    (&["hr", "hrs", "hour", "hours"], "h"),
    (&["day", "days"], "day"),
    (&["week", "weeks"], "week"),
    (&["month", "months"], "month"),
    (&["yr", "yrs", "year", "years"], "year"),
    (&["mph"], "mi/h"),
    (&["kmh", "kph"], "km/h"),
    (&["dollar", "dollars", "USD", "usd"], "$"),
    (&["cent", "cents"], "cent"),
    (&["euro", "euros", "EUR"], "€"),
    (&["yuan", "RMB"], "yuan"),
    (&["degree", "degrees", "deg"], "degree"),
    (&["radian", "radians"], "rad"),
    (&["unit", "units"], "unit"),
    (&["Hz", "hertz"], "Hz"),
];

/// Marks in the order in which they are tried.
pub(super) const SYMBOLS: &[(&str, Token<'static>)] = &[
    ("<=", Token::Comparator(Comparator::AtMost)),
    (">=", Token::Comparator(Comparator::AtLeast)),
    ("!=", Token::Comparator(Comparator::NotEqual)),
    ("==", Token::Comparator(Comparator::Equal)),
    ("=", Token::Comparator(Comparator::Equal)),
    ("<", Token::Comparator(Comparator::Less)),
    (">", Token::Comparator(Comparator::Greater)),
    ("≤", Token::Comparator(Comparator::AtMost)),
    ("⩽", Token::Comparator(Comparator::AtMost)),
    ("≥", Token::Comparator(Comparator::AtLeast)),
    ("⩾", Token::Comparator(Comparator::AtLeast)),
    ("≠", Token::Comparator(Comparator::NotEqual)),
    ("≈", Token::Comparator(Comparator::About)),
    ("∈", Token::Comparator(Comparator::In)),
    ("**", Token::Mark('^')),
    ("+-", Token::Mark('±')),
    ("±", Token::Mark('±')),
    ("∓", Token::Mark('∓')),
    ("+", Token::Mark('+')),
    ("-", Token::Mark('-')),
    ("−", Token::Mark('-')),
    ("–", Token::Mark('-')),
    ("*", Token::Mark('*')),
    ("×", Token::Mark('*')),
    ("·", Token::Mark('*')),
    ("⋅", Token::Mark('*')),
    ("/", Token::Mark('/')),
    ("÷", Token::Mark('/')),
    ("^", Token::Mark('^')),
    ("_", Token::Mark('_')),
    ("(", Token::Mark('(')),
    (")", Token::Mark(')')),
    ("[", Token::Mark('[')),
    ("]", Token::Mark(']')),
    ("{", Token::Mark('{')),
    ("}", Token::Mark('}')),
    ("|", Token::Mark('|')),
    (",", Token::Mark(',')),
    (";", Token::Mark(';')),
    (":", Token::Mark(':')),
    ("!", Token::Mark('!')),
    ("%", Token::Mark('%')),
    ("&", Token::Mark('&')),
    ("'", Token::Mark('\'')),
    ("∪", Token::Mark('∪')),
    ("√", Token::Command("sqrt")),
    ("∞", Token::Constant(Constant::Infinity)),
    ("π", Token::Constant(Constant::Pi)),
    ("°", Token::Unit("degree")),
    ("º", Token::Unit("degree")),
    ("²", Token::Command("squared")),
    ("³", Token::Command("cubed")),
    ("½", Token::Command("half")),
    ("$", Token::Currency("$")),
    ("€", Token::Currency("€")),
    ("£", Token::Currency("£")),
    ("¥", Token::Currency("¥")),
    ("∅", Token::Command("empty")),
];

fn function(name: &str) -> Option<Word> {
    FUNCTIONS.iter().find(|(known, _)| *known == name).map(|(_, function)| Word::Function(function))
}

pub(super) fn unit(name: &str) -> Option<&'static str> {
    UNITS.iter().find(|(names, _)| names.contains(&name)).map(|(_, unit)| *unit)
}

/// The meaning of a run of plain letters.
pub(super) fn plain_word(run: &str) -> Option<Word> {
    Some(match run {
        "pi" | "Pi" => Word::Constant(Constant::Pi),
        "inf" | "oo" | "infinity" | "Infinity" => Word::Constant(Constant::Infinity),
        "sqrt" => Word::Command("sqrt"),
        "and" | "or" => Word::Mark(';'),
        "percent" | "pct" | "percentage" => Word::Mark('%'),
        "squared" => Word::Command("squared"),
        "cubed" => Word::Command("cubed"),
        "dozen" => Word::Scale(12),
        "hundred" => Word::Scale(100),
        "thousand" => Word::Scale(1_000),
        "million" => Word::Scale(1_000_000),
        "billion" => Word::Scale(1_000_000_000),
        "trillion" => Word::Scale(1_000_000_000_000),
        _ => return function(run).or_else(|| unit(run).map(Word::Unit)),
    })
}

/// Whether words after a number change what it says: "5 or more".
pub(super) fn qualifies(words: &str) -> bool {
    const QUALIFIERS: [&str; 11] =
        ["or", "not", "no", "more", "less", "than", "least", "most", "plus", "minus", "times"];
    words.split_whitespace().any(|word| QUALIFIERS.contains(&word))
}

/// A letter that stands alone.
pub(super) fn letter<'a>(letter: char) -> Token<'a> {
    match letter {
        'e' => Token::Constant(Constant::Euler),
        'i' => Token::Constant(Constant::Imaginary),
        'π' => Token::Constant(Constant::Pi),
        _ => Token::Letter(letter),
    }
}

/// What the words of `\text{…}` mean.
pub(super) fn words(words: &str) -> Token<'_> {
    let words = words.trim_matches(|c: char| c == '~' || c.is_whitespace());
    match words.trim_matches(|c: char| c == ',' || c.is_whitespace()) {
        "and" | "or" | "" if !words.is_empty() => Token::Mark(';'),
        "percent" => Token::Mark('%'),
        "e" => Token::Constant(Constant::Euler),
        "i" => Token::Constant(Constant::Imaginary),
        inner => match plain_word(inner) {
            Some(word @ (Word::Scale(_) | Word::Unit(_))) => word.token(),
            _ => Token::Words(words),
        },
    }
}

/// The meaning of a LaTeX command.
pub(super) fn command(name: &str) -> Option<Word> {
    use Comparator::{About, AtLeast, AtMost, Equal, Greater, In, Less, NotEqual};
    Some(match name {
        "frac" | "dfrac" | "tfrac" | "cfrac" => Word::Command("frac"),
        "binom" | "dbinom" | "tbinom" => Word::Command("binom"),
        "sqrt" => Word::Command("sqrt"),
        "boxed" | "fbox" | "mathbf" | "mathbb" | "mathcal" | "boldsymbol" | "bm" => {
            Word::Command("plain")
        }
        "overline" | "vec" | "overrightarrow" | "bar" | "hat" | "tilde" | "widehat" => {
            Word::Command("accent")
        }
        "emptyset" | "varnothing" => Word::Command("empty"),
        "circ" | "degree" => Word::Unit("degree"),
        "prime" => Word::Mark('\''),
        "pi" => Word::Constant(Constant::Pi),
        "infty" => Word::Constant(Constant::Infinity),
        "imath" => Word::Constant(Constant::Imaginary),
        "cdot" | "times" | "ast" => Word::Mark('*'),
        "div" => Word::Mark('/'),
        "pm" => Word::Mark('±'),
        "mp" => Word::Mark('∓'),
        "cup" | "bigcup" => Word::Mark('∪'),
        "lbrace" => Word::Mark('<'),
        "rbrace" => Word::Mark('>'),
        "lbrack" => Word::Mark('['),
        "rbrack" => Word::Mark(']'),
        "langle" => Word::Mark('('),
        "rangle" => Word::Mark(')'),
        "vert" | "lvert" | "rvert" => Word::Mark('|'),
        "mid" | "colon" => Word::Mark(':'),
        "lfloor" => Word::Command("floor"),
        "rfloor" => Word::Mark('⌋'),
        "lceil" => Word::Command("ceil"),
        "rceil" => Word::Mark('⌉'),
        "le" | "leq" | "leqslant" => Word::Comparator(AtMost),
        "ge" | "geq" | "geqslant" => Word::Comparator(AtLeast),
        "lt" => Word::Comparator(Less),
        "gt" => Word::Comparator(Greater),
        "ne" | "neq" => Word::Comparator(NotEqual),
        "approx" | "simeq" => Word::Comparator(About),
        "equiv" => Word::Comparator(Equal),
        "in" => Word::Comparator(In),
        _ => return function(name),
    })
}
