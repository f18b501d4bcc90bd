//! Answers as plain text: what surrounds them, and words without their mark-up.

/// Marks that surround a formula.
const DELIMITERS: [(&str, &str); 5] =
    [("$$", "$$"), ("$", "$"), ("\\(", "\\)"), ("\\[", "\\]"), ("**", "**")];

/// Without white space, marks of a formula around it and a full stop at its end.
pub(super) fn trimmed(text: &str) -> &str {
    let mut text = text.trim();
    loop {
        let before = text.len();
        text = text.strip_suffix('.').unwrap_or(text).trim();
        for (open, close) in DELIMITERS {
            let inner = text.strip_prefix(open).and_then(|text| text.strip_suffix(close));
            if let Some(inner) = inner.filter(|inner| !inner.contains(close)) {
                text = inner.trim();
            }
        }
        if text.len() == before {
            return text;
        }
    }
}

/// A whole number of at most eighteen digits.
pub(super) fn small_integer(text: &str) -> Option<i64> {
    let digits = text.strip_prefix('-').unwrap_or(text).as_bytes();
    if digits.is_empty() || digits.len() > 18 || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let value = digits.iter().fold(0, |value, digit| value * 10 + i64::from(digit - b'0'));
    Some(if digits.len() < text.len() { -value } else { value })
}

/// Whether two texts are the same without spaces, mark-up and, of words, case.
pub(super) fn same_words(a: &str, b: &str) -> bool {
    let [a, b] = [a, b].map(words);
    if a.is_empty() || b.is_empty() {
        return false;
    }
    let is_word = |text: &str| text.chars().count() > 1 && text.chars().all(char::is_alphabetic);
    a == b || is_word(&a) && is_word(&b) && a.to_lowercase() == b.to_lowercase()
}

/// Without spaces (but those between digits), signs of a formula and commands of style; of `(A)`,
/// what is in parentheses.
pub(super) fn words(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut styled: Vec<bool> = Vec::new();
    let mut rest = text;
    let mut spaced = false;
    while let Some(next) = rest.chars().next() {
        rest = &rest[next.len_utf8()..];
        match next {
            '\\' => {
                spaced |= !rest.starts_with(char::is_alphabetic);
                rest = command(rest, &mut plain, &mut styled);
            }
            '{' => {
                styled.push(false);
                plain.push('{');
            }
            '}' if styled.pop() == Some(true) => {}
            '$' | '~' => {}
            space if space.is_whitespace() => spaced = true,
            other => {
                let between = spaced && other.is_ascii_digit();
                if between && plain.ends_with(|c: char| c.is_ascii_digit()) {
                    plain.push(' ');
                }
                plain.push(other);
                spaced = false;
            }
        }
    }
    let inner = plain.strip_prefix('(').and_then(|inner| inner.strip_suffix(')'));
    match inner {
        Some(inner) if inner.chars().all(char::is_alphanumeric) => inner.to_owned(),
        _ => plain,
    }
}

/// Reads a command; what comes after it.
fn command<'a>(rest: &'a str, plain: &mut String, styled: &mut Vec<bool>) -> &'a str {
    let end = rest.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(rest.len());
    let (name, after) = rest.split_at(end);
    match name {
        "left" | "right" | "displaystyle" | "quad" | "qquad" => after,
        "text" | "textbf" | "textit" | "textrm" | "textnormal" | "mathrm" | "mbox" => {
            let Some(inner) = after.strip_prefix('{') else { return after };
            styled.push(true);
            inner
        }
        "dfrac" | "tfrac" => {
            plain.push_str("\\frac");
            after
        }
        "" => {
            let Some(next) = rest.chars().next() else { return rest };
            if !matches!(next, ',' | ';' | ':' | '!' | ' ' | '(' | ')' | '[' | ']') {
                plain.push('\\');
                plain.push(next);
            }
            &rest[next.len_utf8()..]
        }
        _ => {
            plain.push('\\');
            plain.push_str(name);
            after
        }
    }
}
