//! From tokens to a tree, by recursive descent. Each method is one level of precedence.

use super::ParseError;
use super::lexer::{self, Spaced, Token};
use super::number::Rational;
use super::tree::{Bracket, Comparator, Expr};
use super::vocabulary;

/// How deeply an answer may be nested.
pub(super) const MAX_DEPTH: usize = 96;

/// The tree of an answer.
pub(super) fn parse(text: &str) -> Result<Expr, ParseError> {
    let tokens = lexer::tokens(text)?;
    let mut parser = Parser { tokens, at: 0, depth: 0, bars: 0 };
    let found = parser.list()?;
    match parser.peek() {
        None => Ok(found),
        Some(token) => Err(unexpected(token)),
    }
}

fn unexpected(token: &Token<'_>) -> ParseError {
    ParseError::Unexpected { found: token_text(token) }
}

/// A token as a subscript or a message shows it.
pub(super) fn token_text(token: &Token<'_>) -> String {
    match token {
        Token::Number(value, _) => value.to_string(),
        Token::Letter(letter) => letter.to_string(),
        Token::Scale(scale) => scale.to_string(),
        Token::Words(words) | Token::Name(words) => (*words).to_owned(),
        Token::Begin(name) => format!("\\begin{{{name}}}"),
        Token::End(name) => format!("\\end{{{name}}}"),
        Token::Function(name)
        | Token::Command(name)
        | Token::Unit(name)
        | Token::Currency(name) => (*name).to_owned(),
        Token::Mark('<') => "\\{".to_owned(),
        Token::Mark('>') => "\\}".to_owned(),
        Token::Mark(mark) => mark.to_string(),
        Token::Constant(constant) => format!("{constant:?}"),
        Token::Comparator(comparator) => format!("{comparator:?}"),
    }
}

pub(super) type Parsed = Result<Expr, ParseError>;

pub(super) struct Parser<'a> {
    tokens: Vec<Spaced<'a>>,
    pub(super) at: usize,
    depth: usize,
    /// Of bars that are open: within them the next bar closes.
    pub(super) bars: usize,
}

impl<'a> Parser<'a> {
    pub(super) fn peek(&self) -> Option<&Token<'a>> {
        self.peek_after(0)
    }

    pub(super) fn peek_after(&self, count: usize) -> Option<&Token<'a>> {
        self.tokens.get(self.at + count).map(|spaced| &spaced.token)
    }

    pub(super) fn is_spaced(&self) -> bool {
        self.tokens.get(self.at).is_some_and(|spaced| spaced.spaced)
    }

    pub(super) fn next(&mut self) -> Option<Token<'a>> {
        let token = self.peek().cloned();
        self.at += 1;
        token
    }

    pub(super) fn replace(&mut self, token: Token<'a>) {
        if let Some(spaced) = self.tokens.get_mut(self.at) {
            spaced.token = token;
        }
    }

    pub(super) fn is_mark(&self, mark: char) -> bool {
        self.peek() == Some(&Token::Mark(mark))
    }

    pub(super) fn take(&mut self, mark: char) -> bool {
        let found = self.is_mark(mark);
        self.at += usize::from(found);
        found
    }

    pub(super) fn expect(&mut self, mark: char) -> Result<(), ParseError> {
        if self.take(mark) {
            return Ok(());
        }
        self.peek().map_or(Err(ParseError::Ends), |token| Err(unexpected(token)))
    }

    pub(super) fn here(&self) -> ParseError {
        self.peek().map_or(ParseError::Ends, unexpected)
    }

    /// Runs a level deeper.
    pub(super) fn nested<T>(
        &mut self,
        parse: impl FnOnce(&mut Self) -> Result<T, ParseError>,
    ) -> Result<T, ParseError> {
        if self.depth == MAX_DEPTH {
            return Err(ParseError::TooDeep);
        }
        self.depth += 1;
        let parsed = parse(self);
        self.depth -= 1;
        parsed
    }

    /// Items with commas, semicolons or `and` between them; one alone is itself.
    pub(super) fn list(&mut self) -> Parsed {
        let mut items = self.items()?;
        match items.len() {
            0 => Err(self.here()),
            1 => Ok(items.remove(0)),
            _ => Ok(Expr::List(items)),
        }
    }

    pub(super) fn items(&mut self) -> Result<Vec<Expr>, ParseError> {
        let mut items = Vec::new();
        loop {
            while self.take(',') || self.take(';') {}
            let ends = ['}', '>', ')', ']'].iter().any(|mark| self.is_mark(*mark));
            if ends || self.peek().is_none() {
                return Ok(items);
            }
            items.push(self.nested(Self::relation)?);
            if !self.is_mark(',') && !self.is_mark(';') {
                return Ok(items);
            }
        }
    }

    /// `a < b = c`
    pub(super) fn relation(&mut self) -> Parsed {
        if let Some(Token::Comparator(Comparator::Equal | Comparator::About)) = self.peek() {
            self.at += 1;
        }
        let first = self.union()?;
        let mut rest = Vec::new();
        while let Some(&Token::Comparator(comparator)) = self.peek() {
            self.at += 1;
            rest.push((comparator, self.union()?));
        }
        Ok(if rest.is_empty() { first } else { Expr::Relation(Box::new(first), rest) })
    }

    fn union(&mut self) -> Parsed {
        let first = self.ratio()?;
        let mut parts = vec![first];
        while self.take('∪') || self.take_plain_union(&parts) {
            parts.push(self.ratio()?);
        }
        Ok(if parts.len() == 1 { parts.remove(0) } else { Expr::Union(parts) })
    }

    /// The letter U between intervals.
    fn take_plain_union(&mut self, parts: &[Expr]) -> bool {
        let is_interval = parts.last().is_some_and(|part| matches!(part, Expr::Group { .. }));
        let found = is_interval && self.peek() == Some(&Token::Letter('U'));
        self.at += usize::from(found);
        found
    }

    /// `7 : 32`
    fn ratio(&mut self) -> Parsed {
        let first = self.sum()?;
        let mut parts = vec![first];
        while self.take(':') {
            parts.push(self.sum()?);
        }
        Ok(if parts.len() == 1 { parts.remove(0) } else { Expr::Ratio(parts) })
    }

    fn sum(&mut self) -> Parsed {
        let mut terms = vec![self.term()?];
        while let Some(&Token::Mark(mark @ ('+' | '-' | '±' | '∓'))) = self.peek() {
            self.at += 1;
            let term = self.term()?;
            terms.push(signed(mark, term));
        }
        Ok(if terms.len() == 1 { terms.remove(0) } else { Expr::Sum(terms) })
    }

    fn term(&mut self) -> Parsed {
        let mut factors = vec![self.factor()?];
        loop {
            if self.take('*') {
                factors.push(self.factor()?);
            } else if self.take('/') {
                let divisor = self.factor()?;
                factors.push(Expr::Power(Box::new(divisor), Box::new(Expr::integer(-1))));
            } else if self.begins_factor(&factors) {
                factors.push(self.power()?);
            } else {
                break;
            }
        }
        let value = if factors.len() == 1 { factors.remove(0) } else { Expr::Product(factors) };
        self.with_unit(value)
    }

    /// Whether a factor follows without a sign of multiplication.
    fn begins_factor(&self, factors: &[Expr]) -> bool {
        match self.peek() {
            Some(Token::Letter('U')) => !matches!(factors.last(), Some(Expr::Group { .. })),
            Some(
                Token::Letter(_)
                | Token::Name(_)
                | Token::Function(_)
                | Token::Constant(_)
                | Token::Begin(_)
                | Token::Mark('(' | '{')
                | Token::Command("frac" | "sqrt" | "binom" | "plain" | "accent" | "floor" | "ceil"),
            ) => true,
            Some(Token::Mark('|')) => self.bars == 0,
            Some(Token::Number(..)) => !matches!(factors.last(), Some(Expr::Number(..))),
            _ => false,
        }
    }

    pub(super) fn factor(&mut self) -> Parsed {
        match self.peek() {
            Some(&Token::Mark(mark @ ('+' | '-' | '±' | '∓'))) => {
                self.at += 1;
                let factor = self.nested(Self::factor)?;
                Ok(signed(mark, factor))
            }
            _ => self.power(),
        }
    }

    pub(super) fn power(&mut self) -> Parsed {
        let base = self.postfix()?;
        if !self.take('^') {
            return Ok(base);
        }
        if self.take_degree() {
            return Ok(Expr::Quantity(Box::new(base), "degree".to_owned()));
        }
        let exponent = self.nested(Self::factor)?;
        Ok(Expr::Power(Box::new(base), Box::new(exponent)))
    }

    /// `\circ` and `{\circ}` as an exponent.
    fn take_degree(&mut self) -> bool {
        let is_degree = |token: Option<&Token<'_>>| token == Some(&Token::Unit("degree"));
        if is_degree(self.peek()) {
            self.at += 1;
            return true;
        }
        let braced = self.is_mark('{')
            && is_degree(self.peek_after(1))
            && self.peek_after(2) == Some(&Token::Mark('}'));
        self.at += 3 * usize::from(braced);
        braced
    }

    fn postfix(&mut self) -> Parsed {
        let mut value = self.nested(Self::primary)?;
        for _ in 0..4 {
            value = match self.peek() {
                Some(Token::Mark('!')) => Expr::Call("factorial".to_owned(), vec![value]),
                Some(Token::Mark('%')) => Expr::Percent(Box::new(value)),
                Some(Token::Command("squared")) => square(value, 2),
                Some(Token::Command("cubed")) => square(value, 3),
                Some(Token::Mark('\'')) => match value {
                    Expr::Symbol(name) => Expr::Symbol(name + "'"),
                    _ => return Err(self.here()),
                },
                _ => return Ok(value),
            };
            self.at += 1;
        }
        Ok(value)
    }

    /// The value with the units that follow it. Words that are no known unit follow only numbers.
    fn with_unit(&mut self, mut value: Expr) -> Parsed {
        while let Some(&Token::Scale(scale)) = self.peek() {
            self.at += 1;
            value = scaled(value, scale);
        }
        let mut unit = String::new();
        let is_number = !value.any(&|e| matches!(e, Expr::Symbol(_) | Expr::Text(_)));
        loop {
            match self.peek() {
                Some(Token::Unit(name) | Token::Currency(name)) => unit.push_str(name),
                Some(Token::Words(words)) if is_number && !vocabulary::qualifies(words) => {
                    unit.extend(words.split_whitespace().map(str::to_lowercase));
                }
                Some(Token::Command("squared")) => unit.push('2'),
                Some(Token::Command("cubed")) => unit.push('3'),
                Some(Token::Mark('^')) if !unit.is_empty() => {
                    self.at += 1;
                    let power = self.argument()?;
                    if let Expr::Number(power, _) = power {
                        unit.push_str(&power.to_string());
                    }
                    continue;
                }
                Some(Token::Mark('/')) if !unit.is_empty() => unit.push('/'),
                _ => break,
            }
            self.at += 1;
        }
        Ok(if unit.is_empty() { value } else { Expr::Quantity(Box::new(value), unit) })
    }
}

fn scaled(value: Expr, scale: i64) -> Expr {
    match value {
        Expr::Product(mut factors) => {
            factors.push(Expr::integer(scale));
            Expr::Product(factors)
        }
        // As in "$5 million".
        Expr::Quantity(inner, unit) => Expr::Quantity(Box::new(scaled(*inner, scale)), unit),
        other => Expr::Product(vec![other, Expr::integer(scale)]),
    }
}

fn square(value: Expr, exponent: i64) -> Expr {
    Expr::Power(Box::new(value), Box::new(Expr::integer(exponent)))
}

fn signed(mark: char, value: Expr) -> Expr {
    match (mark, value) {
        ('+', value) => value,
        ('-', Expr::Number(value, decimal)) => Expr::Number(value.negated(), decimal),
        ('-', value) => Expr::Negative(Box::new(value)),
        (mark, value) => Expr::PlusMinus(Box::new(value), mark == '∓'),
    }
}

/// Brackets of a group; nothing where they are no pair.
pub(super) const fn bracket(mark: char) -> Option<Bracket> {
    match mark {
        '(' | ')' => Some(Bracket::Round),
        '[' | ']' => Some(Bracket::Square),
        _ => None,
    }
}

/// `n + a/b`, where a number stands before a proper fraction.
pub(super) fn mixed(whole: Rational, fraction: Expr) -> Expr {
    Expr::Sum(vec![Expr::Number(whole, false), fraction])
}
