//! From the text of an answer to tokens: LaTeX and plain notation become the same.

use super::ParseError;
use super::number::Rational;
use super::tree::{Comparator, Constant};
use super::vocabulary::{self, Word};

/// The most characters of an answer that are parsed.
pub(super) const MAX_LENGTH: usize = 4096;

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Token<'a> {
    /// A number; whether it has a decimal point.
    Number(Rational, bool),
    Letter(char),
    /// A name of several letters: a Greek letter, an accented one.
    Name(&'a str),
    Function(&'static str),
    Constant(Constant),
    /// Words that are no mathematics: those of `\text{…}`, and plain ones.
    Words(&'a str),
    Unit(&'static str),
    /// A word such as "million".
    Scale(i64),
    /// Of a currency, before its number.
    Currency(&'static str),
    /// `\frac`, `\sqrt`, `\begin` and others that take arguments.
    Command(&'static str),
    /// The name in `\begin{…}` and `\end{…}`.
    Begin(&'a str),
    End(&'a str),
    Comparator(Comparator),
    /// `+ - * / ^ _ ( ) [ ] { } | , ; : ! % & ' ±∓∪∩∖`; `<` and `>` are `\{` and `\}`, `\` a new row.
    Mark(char),
}

/// A token, and whether white space is before it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Spaced<'a> {
    pub(super) token: Token<'a>,
    pub(super) spaced: bool,
}

pub(super) fn tokens(text: &str) -> Result<Vec<Spaced<'_>>, ParseError> {
    if text.len() > MAX_LENGTH {
        return Err(ParseError::TooLong { bytes: text.len() });
    }
    let lone_dollar = text.matches('$').count() == 1;
    let mut lexer = Lexer { text, at: 0, depth: 0, lone_dollar };
    let mut found = Vec::new();
    loop {
        let before = lexer.at;
        lexer.skip_space();
        let spaced = lexer.at > before;
        let Some(next) = lexer.peek() else { return Ok(found) };
        if let Some(token) = lexer.token(next)? {
            found.push(Spaced { token, spaced });
        }
    }
}

/// A decimal after whose digits others repeat for ever.
fn with_period(value: &Rational, decimals: u32, period: &str) -> Option<Rational> {
    let ten = |power: usize| Rational::integer(10).pow(power as i64);
    let nines = ten(period.len())?.add(&Rational::integer(-1))?;
    let scale = nines.mul(&ten(decimals as usize)?)?;
    value.add(&Rational::decimal(period, 0)?.mul(&scale.inverse()?)?)
}

struct Lexer<'a> {
    text: &'a str,
    at: usize,
    /// Of parentheses, brackets and sets: within them a comma separates.
    depth: usize,
    lone_dollar: bool,
}

impl<'a> Lexer<'a> {
    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn take(&mut self, prefix: &str) -> bool {
        let found = self.rest().starts_with(prefix);
        if found {
            self.at += prefix.len();
        }
        found
    }

    fn skip_space(&mut self) {
        loop {
            let rest = self.rest();
            let trimmed = rest.trim_start_matches(|c: char| c.is_whitespace() || c == '~');
            self.at += rest.len() - trimmed.len();
            if !["\\,", "\\!", "\\;", "\\:", "\\ ", "\\quad", "\\qquad", "\\displaystyle"]
                .iter()
                .any(|space| self.take(space))
            {
                return;
            }
        }
    }

    fn token(&mut self, next: char) -> Result<Option<Token<'a>>, ParseError> {
        let after = self.rest()[next.len_utf8()..].chars().next();
        if next.is_ascii_digit() || next == '.' && after.is_some_and(|c| c.is_ascii_digit()) {
            return self.number().map(Some);
        }
        if next == '\\' {
            return self.command();
        }
        if next.is_alphabetic() {
            return Ok(Some(self.word()));
        }
        if next == '$' && !(self.lone_dollar && after.is_some_and(|c| c.is_ascii_digit())) {
            self.at += 1;
            return Ok(None);
        }
        for (symbol, token) in vocabulary::SYMBOLS {
            if self.take(symbol) {
                if let Token::Mark(mark) = token {
                    self.count(*mark);
                }
                return Ok(Some(token.clone()));
            }
        }
        let ends = after.is_none_or(|c| c.is_whitespace() || matches!(c, '$' | ')' | '}' | '\\'));
        if next == '.' && ends || next == '"' {
            self.at += 1;
            return Ok(None);
        }
        Err(ParseError::Unexpected { found: next.to_string() })
    }

    fn count(&mut self, mark: char) {
        match mark {
            '(' | '[' | '<' => self.depth += 1,
            ')' | ']' | '>' => self.depth = self.depth.saturating_sub(1),
            _ => {}
        }
    }

    fn digits(&mut self) -> &'a str {
        let rest = self.rest();
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        self.at += digits;
        &rest[..digits]
    }

    /// Digits with separators of thousands, a decimal part, an exponent.
    fn number(&mut self) -> Result<Token<'a>, ParseError> {
        let first = self.digits();
        let mut digits = first.to_owned();
        if (1..=3).contains(&first.len()) {
            while let Some(group) = self.thousands(first) {
                digits.push_str(group);
            }
        }
        let decimals = self.decimals(&mut digits);
        let mut value = Rational::decimal(&digits, decimals).ok_or(ParseError::TooLarge)?;
        if let Some(period) = self.period() {
            value = with_period(&value, decimals, period).ok_or(ParseError::TooLarge)?;
            return Ok(Token::Number(value, false));
        }
        let value = self.exponent(value)?;
        Ok(Token::Number(value, decimals > 0))
    }

    /// Takes a point and the digits after it; how many they are.
    fn decimals(&mut self, digits: &mut String) -> u32 {
        let Some(after) = self.rest().strip_prefix('.') else { return 0 };
        let goes_on = after.starts_with(|c: char| c.is_ascii_digit());
        let repeats = after.starts_with("\\overline") || after.starts_with("\\bar");
        if !(goes_on || repeats) {
            return 0;
        }
        self.at += 1;
        let fraction = self.digits();
        digits.push_str(fraction);
        fraction.len() as u32
    }

    /// The digits that repeat: `\overline{3}`.
    fn period(&mut self) -> Option<&'a str> {
        let rest = self.rest();
        let after = rest.strip_prefix("\\overline{").or_else(|| rest.strip_prefix("\\bar{"))?;
        let (period, end) = after.split_once('}')?;
        let is_number = !period.is_empty() && period.bytes().all(|b| b.is_ascii_digit());
        let is_decimal = self.text[..self.at].ends_with(|c: char| c == '.' || c.is_ascii_digit());
        (is_number && is_decimal).then(|| {
            self.at = self.text.len() - end.len();
            period
        })
    }

    /// A separator and three digits that no digit follows.
    fn thousands(&mut self, first: &str) -> Option<&'a str> {
        let rest = self.rest();
        let explicit = ["{,}", " {, }", ",\\!", "\\,", " ", "\u{202f}", "\u{a0}"];
        let comma = (self.depth == 0 && !first.starts_with('0')).then_some(",");
        for separator in explicit.into_iter().chain(comma) {
            let Some(after) = rest.strip_prefix(separator) else { continue };
            let group = if separator == ",\\!" { after.trim_start_matches(' ') } else { after };
            if group.bytes().take_while(u8::is_ascii_digit).count() == 3 {
                self.at += rest.len() - group.len() + 3;
                return Some(&group[..3]);
            }
        }
        None
    }

    /// `e5`, `E-3` directly after the digits.
    fn exponent(&mut self, value: Rational) -> Result<Rational, ParseError> {
        let rest = self.rest();
        let Some(after) = rest.strip_prefix(['e', 'E']) else { return Ok(value) };
        let digits = after.strip_prefix(['-', '+']).unwrap_or(after);
        let count = digits.bytes().take_while(u8::is_ascii_digit).count();
        if count == 0 {
            return Ok(value);
        }
        let sign = after.len() - digits.len();
        self.at += 1 + sign + count;
        let exponent = after[..sign + count].parse().map_err(|_| ParseError::TooLarge)?;
        let power = Rational::integer(10).pow(exponent).ok_or(ParseError::TooLarge)?;
        value.mul(&power).ok_or(ParseError::TooLarge)
    }

    fn letters(&mut self) -> &'a str {
        let rest = self.rest();
        let end = rest.find(|c: char| !c.is_alphabetic()).unwrap_or(rest.len());
        self.at += end;
        &rest[..end]
    }

    /// A run of plain letters: a known word, words of a text, or variables side by side.
    fn word(&mut self) -> Token<'a> {
        let start = self.at;
        let run = self.letters();
        let mut chars = run.chars();
        let first = chars.next().unwrap_or_default();
        match vocabulary::plain_word(run) {
            Some(word) => word.token(),
            None if run.chars().count() > 3 => Token::Words(run),
            None => {
                self.at = start + first.len_utf8();
                vocabulary::letter(first)
            }
        }
    }

    /// What a backslash begins.
    fn command(&mut self) -> Result<Option<Token<'a>>, ParseError> {
        let start = self.at;
        self.at += 1;
        let rest = self.rest();
        let end = rest.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(rest.len());
        if end == 0 {
            return self.escaped();
        }
        self.at += end;
        let name = &rest[..end];
        if vocabulary::IGNORED.contains(&name) {
            let _delimiter = self.take(".");
            return Ok(None);
        }
        if vocabulary::TEXT.contains(&name) {
            let words = self.braces()?;
            return Ok(Some(vocabulary::words(words)));
        }
        match name {
            "begin" => return Ok(Some(Token::Begin(self.braces()?))),
            "end" => return Ok(Some(Token::End(self.braces()?))),
            _ => {}
        }
        match vocabulary::command(name) {
            Some(Word::Mark(mark)) => {
                self.count(mark);
                Ok(Some(Token::Mark(mark)))
            }
            Some(word) => Ok(Some(word.token())),
            None if vocabulary::GREEK.contains(&name) => Ok(Some(Token::Name(name))),
            None => {
                let found = self.text[start..self.at].to_owned();
                Err(ParseError::Unexpected { found })
            }
        }
    }

    /// A backslash and a mark.
    fn escaped(&mut self) -> Result<Option<Token<'a>>, ParseError> {
        let Some(next) = self.peek() else { return Ok(None) };
        if next == '\\' && self.is_escaped_twice() {
            return self.command();
        }
        self.at += next.len_utf8();
        let token = match next {
            '{' => Token::Mark('<'),
            '}' => Token::Mark('>'),
            '\\' => Token::Mark('\\'),
            '%' => Token::Mark('%'),
            '$' => Token::Currency("$"),
            '|' => Token::Mark('|'),
            '&' => Token::Mark('&'),
            '(' | ')' | '[' | ']' | '#' | '_' | '-' | '/' => return Ok(None),
            other => return Err(ParseError::Unexpected { found: format!("\\{other}") }),
        };
        if let Token::Mark(mark) = token {
            self.count(mark);
        }
        Ok(Some(token))
    }

    /// Whether the second backslash begins a command: a row ends only within a matrix.
    fn is_escaped_twice(&self) -> bool {
        let letter = self.rest()[1..].starts_with(|c: char| c.is_ascii_alphabetic());
        letter && !self.text.contains("begin")
    }

    /// What is within the braces that follow; one letter where there are none.
    fn braces(&mut self) -> Result<&'a str, ParseError> {
        self.skip_space();
        let rest = self.rest();
        if !rest.starts_with('{') {
            let end = rest.chars().next().map_or(0, char::len_utf8);
            self.at += end;
            return Ok(&rest[..end]);
        }
        let end = super::extract::closing_brace(rest).ok_or(ParseError::Unclosed { open: '{' })?;
        self.at += end + 1;
        Ok(&rest[1..end])
    }
}
